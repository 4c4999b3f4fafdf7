package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"closure/domain"
	"closure/handlers"
)

// cast is who is in the story, by their ids.
type cast struct {
	client, user, group string
	first, second       string // accounts
	fee, withdrawal     string
	report              string
	shown               int // webhooks shown so far
	names               map[string]string
}

// Instruments of the story: real ISINs.
const (
	isinApple = "US0378331005"
	isinSAP   = "DE0007164600"
	isinWorld = "IE00B4L5Y983"
)

func (c *cast) name(id string) string {
	if n, ok := c.names[id]; ok {
		return n
	}
	return id
}

// shorten replaces the ids of the story by the names of what they mean, so that a line fits on a terminal.
func (c *cast) shorten(s string) string {
	for id := range c.names {
		s = strings.ReplaceAll(s, id, id[:8]+"…")
	}
	return s
}

// steps is the story: a personal group of a German customer with two accounts is closed.
func (d *demo) steps() []step {
	d.cast.client, d.cast.user = uuid.NewString(), uuid.NewString()
	d.cast.fee, d.cast.withdrawal = uuid.NewString(), uuid.NewString()
	d.cast.names = map[string]string{d.cast.user: "the customer", d.cast.fee: "the fee", d.cast.withdrawal: "the withdrawal"}
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group, domicile DE, with two accounts", d.open},
		{"Upstream services report three positions, cash, a fee and a withdrawal", d.facts},
		{"Ask to close the group while the withdrawal is outstanding: it is refused", d.refused},
		{"The withdrawal is paid out; ask to close both accounts and the group", d.request3},
		{"The positions of the first account are sold: it closes by itself", d.sellFirst},
		{"The second account is sold, one position after the other", d.sellSecond},
		{"The fee is collected and the cash is paid out: the group closes by itself", d.settle},
		{"The PDF report ACCOUNT_CLOSING is made and announced", d.fetchReport},
		{"The history of the group stays readable", d.history},
	}
}

func (d *demo) subscribe(ctx context.Context, p *page) error {
	var hook domain.Webhook
	return d.request(ctx, p, http.MethodPost, "/webhooks", map[string]any{
		"title": "demo", "url": d.receiver.url, "type": []string{"ALL"},
	}, &hook, http.StatusCreated)
}

func (d *demo) open(ctx context.Context, p *page) error {
	var group domain.AccountGroupResource
	err := d.request(ctx, p, http.MethodPost, "/account_groups", map[string]any{
		"user_id": d.cast.user, "type": "PERSONAL", "domicile": "DE", "tax_residencies": []string{"DE"},
	}, &group, http.StatusCreated)
	if err != nil {
		return err
	}
	d.cast.group = group.ID
	d.cast.names[group.ID] = "the group"
	for _, a := range []struct {
		id         *string
		kind, name string
	}{{&d.cast.first, "TRADING", "Für später"}, {&d.cast.second, "PORTFOLIO", "Weltreise"}} {
		var account domain.AccountResource
		if err := d.request(ctx, p, http.MethodPost, "/accounts", map[string]any{
			"account_group_id": group.ID, "type": a.kind, "name": a.name,
		}, &account, http.StatusCreated); err != nil {
			return err
		}
		*a.id = account.ID
		d.cast.names[account.ID] = "account “" + a.name + "”"
	}
	return d.await(ctx, p, [2]string{domain.PublishedAccountActivated, d.cast.first}, [2]string{domain.PublishedAccountActivated, d.cast.second})
}

// fact is one fact of an upstream service.
type fact struct {
	kind    domain.Kind
	id      string
	command string
	fields  map[string]any
}

func (d *demo) tellAll(ctx context.Context, p *page, facts ...fact) error {
	for _, f := range facts {
		if err := d.tell(ctx, p, f.kind, f.id, f.command, f.fields); err != nil {
			return err
		}
	}
	return nil
}

func position(account, isin, quantity string, revision int) fact {
	return fact{domain.KindAccount, account, "record_position", map[string]any{"isin": isin, "quantity": quantity, "revision": revision}}
}

func (d *demo) cash(balance string, revision int) fact {
	return fact{domain.KindAccountGroup, d.cast.group, "record_cash_balance", map[string]any{"currency": "EUR", "balance": balance, "revision": revision}}
}

func (d *demo) feeIs(status string, revision int) fact {
	return fact{domain.KindAccountGroup, d.cast.group, "record_fee_collection", map[string]any{
		"fee_collection_id": d.cast.fee, "status": status, "amount": "4.90", "currency": "EUR", "revision": revision}}
}

func (d *demo) withdrawalIs(status string, revision int) fact {
	return fact{domain.KindAccountGroup, d.cast.group, "record_withdrawal", map[string]any{
		"withdrawal_id": d.cast.withdrawal, "status": status, "amount": "250.00", "currency": "EUR", "revision": revision}}
}

func (d *demo) facts(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p,
		position(d.cast.first, isinApple, "3", 1),
		position(d.cast.second, isinSAP, "10", 1),
		position(d.cast.second, isinWorld, "12.5", 1),
		d.cash("312.40", 1), d.feeIs("PROCESSING", 1), d.withdrawalIs("NEW", 1),
	); err != nil {
		return err
	}
	return d.expect(ctx, p, "account_group", d.cast.group, domain.StatusActive,
		domain.OpenAccounts, domain.OutstandingFees, domain.OutstandingWithdrawals, domain.CashBalance)
}

// expect looks at a checklist and compares it.
func (d *demo) expect(ctx context.Context, p *page, kind, id string, status domain.Status, codes ...domain.BlockerCode) error {
	c, err := d.look(ctx, p, kind, id)
	if err != nil {
		return err
	}
	var got []domain.BlockerCode
	for _, b := range c.Blockers {
		got = append(got, b.Code)
	}
	if c.Status != status || fmt.Sprint(got) != fmt.Sprint(codes) {
		return fmt.Errorf("%s is %s with %v, want %s with %v", d.cast.name(id), c.Status, got, status, codes)
	}
	return nil
}

func (d *demo) closePath() string {
	return "/account_groups/" + d.cast.group + "?closure_reason=user_initiated"
}

func (d *demo) refused(ctx context.Context, p *page) error {
	var refusal problem
	if err := d.request(ctx, p, http.MethodDelete, d.closePath(), nil, &refusal, http.StatusConflict); err != nil {
		return err
	}
	if len(refusal.Blockers) != 1 || refusal.Blockers[0].Code != domain.OutstandingWithdrawals {
		return fmt.Errorf("the refusal names %v, want %s", refusal.Blockers, domain.OutstandingWithdrawals)
	}
	return nil
}

func (d *demo) request3(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, d.withdrawalIs("CONFIRMED", 2), d.cash("62.40", 2)); err != nil {
		return err
	}
	for _, path := range []string{"/accounts/" + d.cast.first, "/accounts/" + d.cast.second, d.closePath()} {
		if err := d.request(ctx, p, http.MethodDelete, path, nil, nil, http.StatusAccepted); err != nil {
			return err
		}
	}
	err := errors.Join(
		d.expect(ctx, p, "account", d.cast.first, domain.StatusClosing, domain.OpenPositions),
		d.expect(ctx, p, "account", d.cast.second, domain.StatusClosing, domain.OpenPositions),
		d.expect(ctx, p, "account_group", d.cast.group, domain.StatusClosing, domain.OpenAccounts, domain.OutstandingFees, domain.CashBalance))
	if err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedGroupClosingInitiated, d.cast.group})
}

func (d *demo) sellFirst(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, position(d.cast.first, isinApple, "0", 2), d.cash("622.15", 3)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.first, domain.StatusClosed); err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedAccountClosed, d.cast.first})
}

func (d *demo) sellSecond(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, position(d.cast.second, isinSAP, "0", 2)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.second, domain.StatusClosing, domain.OpenPositions); err != nil {
		return err
	}
	if err := d.tellAll(ctx, p, position(d.cast.second, isinWorld, "0", 2), d.cash("4105.60", 4)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.second, domain.StatusClosed); err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedAccountClosed, d.cast.second})
}

func (d *demo) settle(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, d.feeIs("FINALISED", 2), d.cash("0.00", 5)); err != nil {
		return err
	}
	// The group may hear of its last account a moment later: the webhook says when it is CLOSED.
	if err := d.await(ctx, p, [2]string{domain.PublishedGroupClosed, d.cast.group}); err != nil {
		return err
	}
	return d.expect(ctx, p, "account_group", d.cast.group, domain.StatusClosed)
}

func (d *demo) fetchReport(ctx context.Context, p *page) error {
	if err := d.await(ctx, p, [2]string{domain.PublishedReportCreated, ""}); err != nil {
		return err
	}
	d.receiver.mu.Lock()
	for _, e := range d.receiver.got {
		if e.Type == domain.PublishedReportCreated {
			d.cast.report = e.ResourceID
		}
	}
	d.receiver.mu.Unlock()
	pdf, err := d.download(ctx, p, "/reports/"+d.cast.report)
	if err != nil {
		return err
	}
	d.pdf = filepath.Join(d.out, "ACCOUNT_CLOSING-"+d.cast.report+".pdf")
	if err := os.WriteFile(d.pdf, pdf, 0o644); err != nil {
		return err
	}
	p.note("The PDF is at %s", d.pdf)
	return nil
}

func (d *demo) download(ctx context.Context, p *page, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.app.HTTPURL+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("upvest-client-id", d.cast.client)
	req.Header.Set("accept", "application/pdf")
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	pdf, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	p.call(call{Request: "GET " + path + " (accept: application/pdf)", Answer: fmt.Sprintf("%s, %d bytes", res.Status, len(pdf))})
	if res.StatusCode != http.StatusOK || !bytes.HasPrefix(pdf, []byte("%PDF-")) {
		return nil, fmt.Errorf("GET %s: got %s, want a PDF", path, res.Status)
	}
	return pdf, nil
}

func (d *demo) history(ctx context.Context, p *page) error {
	var list struct {
		Data []handlers.HistoryItem `json:"data"`
	}
	if err := d.request(ctx, p, http.MethodGet, "/account_groups/"+d.cast.group+"/history", nil, &list, http.StatusOK); err != nil {
		return err
	}
	var types []string
	for _, item := range list.Data {
		types = append(types, item.Type)
		p.event(fmt.Sprintf("%5d.%d  %s  %-40s %s", item.Sequence, item.Index, item.Time.Format("15:04:05.000"), item.Type, item.Actor))
	}
	for _, want := range []string{domain.EventGroupOpened, domain.EventGroupClosingInitiated, domain.EventGroupClosed, domain.EventGroupReportCreated} {
		if !strings.Contains(strings.Join(types, " ")+" ", want+" ") {
			return fmt.Errorf("the history has no %s", want)
		}
	}
	return nil
}
