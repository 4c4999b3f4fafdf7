package readmodel_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"closure/domain"
	"closure/projections/readmodel"
)

// lister is one of the three lists.
type lister[T any] func(ctx context.Context, clientID, userID string, page domain.Page) ([]T, int, error)

// checkList reads a list in every order, in pages of several sizes, and compares it with what has to be there.
func checkList[T any](t *testing.T, name string, read lister[T], client, user string, want []T, key func(T) keys) {
	t.Helper()
	for _, sort := range []domain.Sort{domain.SortCreatedAt, domain.SortUpdatedAt, domain.SortID} {
		for _, order := range []domain.SortOrder{domain.Ascending, domain.Descending} {
			page := domain.Page{Sort: sort, Order: order}
			slices.SortFunc(want, func(a, b T) int { return compare(page, key(a), key(b)) })
			for _, size := range []int{1, 3, domain.MaxLimit} {
				page.Limit = size
				got, total := readAll(t, read, client, user, page)
				if total != len(want) {
					t.Errorf("%s by %s %s: the total is %d, want %d", name, sort, order, total, len(want))
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s by %s %s in pages of %d:\n got %v\nwant %v", name, sort, order, size, got, want)
				}
			}
		}
	}
}

// readAll puts the pages of a list together, and the empty one behind them.
func readAll[T any](t *testing.T, read lister[T], client, user string, page domain.Page) (all []T, total int) {
	t.Helper()
	all = []T{}
	for {
		page.Offset = len(all)
		items, n, err := read(testContext(t), client, user, page)
		if err != nil {
			t.Fatalf("read a page: %v", err)
		}
		if items == nil {
			t.Fatalf("the page from %d is nil; it has to be a list", page.Offset)
		}
		if len(all) > 0 && n != total {
			t.Errorf("the total changed from %d to %d between pages", total, n)
		}
		all, total = append(all, items...), n
		if len(items) == 0 {
			return all, total
		}
	}
}

// checkLists compares all lists of a client and of some users.
func checkLists(t *testing.T, w *world, m *readmodel.Model, client string, users ...string) {
	t.Helper()
	for _, user := range append([]string{""}, users...) {
		of := fmt.Sprintf(" of client %s, user %q", client, user)
		checkList(t, "accounts"+of, m.Accounts, client, user, w.wantAccounts(client, user), accountKeys)
		checkList(t, "groups"+of, m.AccountGroups, client, user, w.wantGroups(client, user), groupKeys)
		checkList(t, "reports"+of, m.Reports, client, user, w.wantReports(client, user), reportKeys)
	}
}

// populate gives a client groups of one and of several users, accounts of which some were opened at the very same time,
// renamed and closed in another order, and reports.
func populate(w *world, ann, bob, kim string) {
	w.t.Helper()
	personal := w.openGroup(domain.Party{ID: ann, Type: domain.Owner})
	joint := w.openGroup(domain.Party{ID: ann, Type: domain.Owner}, domain.Party{ID: bob, Type: domain.Owner})
	child := w.openGroup(domain.Party{ID: kim, Type: domain.Child}, domain.Party{ID: bob, Type: domain.Guardian})
	var opened []string
	for i, group := range []string{personal, joint, child, personal, joint, child, personal, joint} {
		at := w.now
		opened = append(opened, w.openAccount(group, fmt.Sprintf("Depot %d", i)))
		if i%3 != 2 {
			w.now = at // the next one has the same created_at
		}
	}
	for i, account := range []int{7, 2, 4, 0} {
		at := w.now
		w.rename(opened[account], fmt.Sprintf("Zürich <%d> & Söhne", i))
		if i%2 == 0 {
			w.now = at
		}
	}
	w.placeOrder(opened[3], domain.Buy)
	w.position(opened[3], isin1, "5", 1)
	w.position(opened[3], isin2, "7", 1)
	w.closeAccount(opened[3]) // stays CLOSING
	w.do(domain.KindAccount, opened[3], &domain.RequestLiquidation{LiquidationID: uuid.NewString(), UserID: ann})
	w.do(domain.KindAccount, opened[6], &domain.Lock{})
	for _, account := range []int{1, 4, 7} {
		w.closeAccount(opened[account])
		w.tellClosed(joint, opened[account])
	}
	w.closeGroup(joint)
	for _, account := range []int{5, 2} {
		w.closeAccount(opened[account])
		w.tellClosed(child, opened[account])
	}
	w.closeGroup(child)
	late(w, opened[1], joint)
}

// late brings what comes after CLOSED: a position that stays to be reconciled, and cash that is settled.
func late(w *world, account, group string) {
	w.t.Helper()
	w.position(account, isin2, "1", 9)
	w.do(domain.KindAccountGroup, group, &domain.RecordCashBalance{Currency: "EUR", Balance: "0.01", Revision: 1})
	w.do(domain.KindAccountGroup, group, &domain.SettleReconciliation{
		ReconciliationID: w.group(group).Reconciliations()[0].ID, Note: "paid out by hand",
	})
}

// Every list, in every order, in pages, for a client and for each user: the same as the single resources say.
func TestLists(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	ann, bob, kim := uuid.NewString(), uuid.NewString(), uuid.NewString()
	populate(w, ann, bob, kim)
	caughtUp(t, w.log, m)
	checkLists(t, w, m, w.client, ann, bob, kim)

	// The comparison above would hold for empty lists, too.
	counts := map[string][3]int{"": {8, 3, 3}, ann: {6, 2, 1}, bob: {5, 2, 1}, kim: {2, 1, 1}}
	for user, want := range counts {
		_, accounts, err1 := m.Accounts(testContext(t), w.client, user, domain.Page{})
		_, groups, err2 := m.AccountGroups(testContext(t), w.client, user, domain.Page{})
		_, reports, err3 := m.Reports(testContext(t), w.client, user, domain.Page{})
		if got := [3]int{accounts, groups, reports}; got != want || errors.Join(err1, err2, err3) != nil {
			t.Errorf("user %q has %v accounts, groups, reports, want %v (%v %v %v)", user, got, want, err1, err2, err3)
		}
	}
}

// A list follows each step of an account, also when they come one by one.
func TestListFollowsTheResource(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	owner := domain.Party{ID: uuid.NewString(), Type: domain.Owner}
	group := w.openGroup(owner)
	account := w.openAccount(group, "one")
	look := func() domain.AccountResource {
		t.Helper()
		caughtUp(t, w.log, m)
		items, total, err := m.Accounts(testContext(t), w.client, owner.ID, domain.Page{})
		if err != nil || total != 1 || len(items) != 1 {
			t.Fatalf("got %v, %d, %v; want one account", items, total, err)
		}
		if want := w.account(account).Resource(); !reflect.DeepEqual(items[0], want) {
			t.Errorf("got %+v, want %+v", items[0], want)
		}
		return items[0]
	}
	opened := look()
	if opened.Status != domain.StatusActive || opened.Name != "one" || opened.AccountNumber != 1 {
		t.Errorf("after open: %+v", opened)
	}
	w.rename(account, "two")
	if renamed := look(); renamed.Name != "two" || !renamed.UpdatedAt.After(opened.UpdatedAt) || renamed.CreatedAt != opened.CreatedAt {
		t.Errorf("after rename: %+v", renamed)
	}
	before := look()
	w.do(domain.KindAccount, account, &domain.RecordPosition{ISIN: isin1, Quantity: "1", Revision: 1})
	if after := look(); !reflect.DeepEqual(after, before) {
		t.Errorf("a fact changed the row: %+v, was %+v", after, before)
	}
	w.do(domain.KindAccount, account, &domain.RequestAccountClosure{})
	if closing := look(); closing.Status != domain.StatusClosing {
		t.Errorf("after the request: %+v", closing)
	}
	w.do(domain.KindAccount, account, &domain.Lock{})
	if locked := look(); locked.Status != domain.StatusLocked {
		t.Errorf("after lock: %+v", locked)
	}
	w.do(domain.KindAccount, account, &domain.Unlock{})
	w.do(domain.KindAccount, account, &domain.RecordPosition{ISIN: isin1, Quantity: "0", Revision: 2})
	if closed := look(); closed.Status != domain.StatusClosed {
		t.Errorf("after the last position: %+v", closed)
	}
}

// Two clients with the same users: neither rows nor counts of one show at the other.
func TestTenancy(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	ann, bob, kim := uuid.NewString(), uuid.NewString(), uuid.NewString()
	first, second := w.client, uuid.NewString()
	populate(w, ann, bob, kim)
	w.client = second
	populate(w, kim, bob, ann)
	w.openGroup(domain.Party{ID: ann, Type: domain.Owner})
	caughtUp(t, w.log, m)
	checkLists(t, w, m, first, ann, bob, kim)
	checkLists(t, w, m, second, ann, bob, kim)
}

// A client without anything, and a user that nobody knows: empty lists, and no error.
func TestUnknown(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	ann := uuid.NewString()
	w.openAccount(w.openGroup(domain.Party{ID: ann, Type: domain.Owner}), "one")
	caughtUp(t, w.log, m)
	for _, of := range []struct{ client, user string }{{w.client, uuid.NewString()}, {uuid.NewString(), ""}, {uuid.NewString(), ann}} {
		accounts, n1, err1 := m.Accounts(testContext(t), of.client, of.user, domain.Page{})
		groups, n2, err2 := m.AccountGroups(testContext(t), of.client, of.user, domain.Page{})
		reports, n3, err3 := m.Reports(testContext(t), of.client, of.user, domain.Page{})
		if err := errors.Join(err1, err2, err3); err != nil || n1+n2+n3 != 0 {
			t.Errorf("%v: %d %d %d, %v", of, n1, n2, n3, err)
		}
		if accounts == nil || groups == nil || reports == nil || len(accounts)+len(groups)+len(reports) != 0 {
			t.Errorf("%v: %#v %#v %#v, want empty lists", of, accounts, groups, reports)
		}
	}
}

// Without anything asked for: the first hundred by created_at, and of closings by the time of the request.
func TestDefaultPage(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	var want []string
	for i := range domain.DefaultLimit + 1 {
		account := w.openAccount(group, fmt.Sprint(i))
		w.closeAccount(account)
		want = append(want, account)
	}
	caughtUp(t, w.log, m)
	items, total, err := m.Accounts(testContext(t), w.client, "", domain.Page{})
	if err != nil || total != len(want) {
		t.Fatalf("total %d, %v; want %d", total, err, len(want))
	}
	var got []string
	for _, item := range items {
		got = append(got, item.ID)
	}
	if !slices.Equal(got, want[:domain.DefaultLimit]) {
		t.Errorf("got %d accounts %v, want the first %d of %v", len(got), got, domain.DefaultLimit, want)
	}
	closings, total, err := m.Closures(testContext(t), domain.ClosureQuery{})
	if err != nil || total != len(want) || len(closings) != domain.DefaultLimit || closings[0].ID != want[0] {
		t.Errorf("got %d closings of %d, %v; want the first %d of %d", len(closings), total, err, domain.DefaultLimit, len(want))
	}
}

// Times sort as times: fractions of different lengths, and years before 1970.
func TestTimesSort(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	for _, at := range []time.Time{
		time.Date(2026, 3, 1, 8, 0, 0, 100, time.UTC), time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 1, 8, 0, 0, 120_000_000, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999, time.UTC),
		time.Date(2026, 3, 1, 9, 0, 0, 99, time.FixedZone("CET", 3600)),
	} {
		w.now = at
		w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	}
	caughtUp(t, w.log, m)
	checkList(t, "groups", m.AccountGroups, w.client, "", w.wantGroups(w.client, ""), groupKeys)
}

// A page that cannot be is refused in words for a client, and nothing of it reaches the SQL.
func TestBadPages(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	for field, page := range map[string]domain.Page{
		"offset": {Offset: -1},
		"limit":  {Limit: domain.MaxLimit + 1},
		"sort":   {Sort: "name; DROP TABLE account"},
		"order":  {Order: "asc"},
	} {
		_, _, err := m.Accounts(testContext(t), w.client, "", page)
		var refusal *domain.Refusal
		if !errors.As(err, &refusal) || refusal.Kind != domain.Invalid || !strings.HasPrefix(refusal.Detail, field+": must be") {
			t.Errorf("%s: got %v, want a refusal that names it", field, err)
		}
	}
	_, _, err := m.Accounts(testContext(t), w.client, "", domain.Page{Limit: -1})
	var refusal *domain.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("limit -1: got %v, want a refusal", err)
	}
}
