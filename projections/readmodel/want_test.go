package readmodel_test

import (
	"cmp"
	"slices"
	"time"

	"closure/domain"
)

// The lists as they have to be, unsorted, from the resources one by one.

func (w *world) wantAccounts(client, user string) []domain.AccountResource {
	want := []domain.AccountResource{}
	for id, of := range w.accounts {
		if r := w.account(id).Resource(); of == client && (user == "" || has(r.Users, user)) {
			want = append(want, r)
		}
	}
	return want
}

func (w *world) wantGroups(client, user string) []domain.AccountGroupResource {
	want := []domain.AccountGroupResource{}
	for id, of := range w.groups {
		if r := w.group(id).Resource(); of == client && (user == "" || has(r.Users, user)) {
			want = append(want, r)
		}
	}
	return want
}

func (w *world) wantReports(client, user string) []domain.ReportResource {
	want := []domain.ReportResource{}
	for id, group := range w.reports {
		g := w.group(group)
		report, ok := g.Report(id)
		if !ok {
			w.t.Fatalf("the group %s has no report %s", group, id)
		}
		if r := g.ReportResource(report); w.groups[group] == client && (user == "" || r.UserID == user) {
			want = append(want, r)
		}
	}
	return want
}

func has(parties []domain.Party, user string) bool {
	return slices.ContainsFunc(parties, func(p domain.Party) bool { return p.ID == user })
}

// keys are the members by which lists are sorted.
type keys struct {
	id               string
	created, updated time.Time
}

func accountKeys(r domain.AccountResource) keys    { return keys{r.ID, r.CreatedAt, r.UpdatedAt} }
func groupKeys(r domain.AccountGroupResource) keys { return keys{r.ID, r.CreatedAt, r.UpdatedAt} }
func reportKeys(r domain.ReportResource) keys      { return keys{r.ID, r.CreatedAt, r.CreatedAt} }

// compare is the order of the contract: the member, then the id; DESC turns both round.
func compare(p domain.Page, a, b keys) int {
	c := 0
	switch p.Sort {
	case domain.SortCreatedAt:
		c = a.created.Compare(b.created)
	case domain.SortUpdatedAt:
		c = a.updated.Compare(b.updated)
	}
	c = cmp.Or(c, cmp.Compare(a.id, b.id))
	if p.Order == domain.Descending {
		return -c
	}
	return c
}

// wantClosures are all closings as they have to be listed for operators, from the resources one by one.
func (w *world) wantClosures() []domain.ClosureItem {
	w.t.Helper()
	want := []domain.ClosureItem{}
	add := func(kind domain.Kind, id string) {
		a := w.state(kind, id).(domain.Closable)
		if a.RequestedAt() != nil {
			closure := a.Closure(domain.Outlook{Now: a.LastChange()})
			want = append(want, domain.ClosureItem{Aggregate: kind, ID: id, ClientID: a.Client(), Closure: closure})
		}
	}
	for id := range w.accounts {
		add(domain.KindAccount, id)
	}
	for id := range w.groups {
		add(domain.KindAccountGroup, id)
	}
	slices.SortFunc(want, func(a, b domain.ClosureItem) int {
		return cmp.Or(a.Closure.RequestedAt.Compare(*b.Closure.RequestedAt), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Aggregate, b.Aggregate))
	})
	return want
}

// filtered are those of all closings that a query asks for, without their client in the list of a client.
func filtered(all []domain.ClosureItem, q domain.ClosureQuery) []domain.ClosureItem {
	want := []domain.ClosureItem{}
	for _, item := range all {
		blocked := slices.ContainsFunc(item.Closure.Blockers, func(b domain.Blocker) bool { return b.Code == q.Blocker })
		if q.ClientID != "" && q.ClientID != item.ClientID || q.Status != "" && q.Status != item.Closure.Status ||
			q.Blocker != "" && !blocked || q.Reconciliation && len(item.Closure.Reconciliation) == 0 {
			continue
		}
		if q.ClientID != "" {
			item.ClientID = ""
		}
		want = append(want, item)
	}
	return want
}
