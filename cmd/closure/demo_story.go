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

// cast is who is in a story, by their ids.
type cast struct {
	client, user, group string
	accounts            []string
	fee, withdrawal     string
	shown               int // webhooks shown so far
	names               map[string]string
}

func newCast() cast {
	c := cast{client: uuid.NewString(), user: uuid.NewString(), fee: uuid.NewString(), withdrawal: uuid.NewString()}
	c.names = map[string]string{c.user: "the customer", c.fee: "the fee", c.withdrawal: "the withdrawal"}
	return c
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

// closing is the story: a personal group of a German customer with two accounts is closed.
func (d *demo) closing() []step {
	return []step{
		{"Subscribe a webhook to all events", d.subscribe},
		{"Open a personal account group, domicile DE, with two accounts", d.open},
		{"Upstream services report three positions, cash, a fee and a withdrawal", d.facts},
		{"Ask to close the group while the withdrawal is outstanding: it is refused", d.refused},
		{"The withdrawal is paid out; ask to close both accounts and the group", d.request3},
		{"The positions of the first account are sold: it closes by itself", d.sellFirst},
		{"The second account is sold, one position after the other", d.sellSecond},
		{"The fee is collected and the cash is paid out: the group closes by itself", d.settle},
		{"The PDF report ACCOUNT_CLOSING is made and announced", d.fetchClosingReport},
		{"The history of the group stays readable", d.history},
	}
}

// subscribe also asks for what operators are told: those families come only by name.
func (d *demo) subscribe(ctx context.Context, p *page) error {
	var hook domain.Webhook
	return d.request(ctx, p, http.MethodPost, "/webhooks", map[string]any{
		"title": "demo", "url": d.receiver.url, "type": []string{"ALL", "CLOSURE"},
	}, &hook, http.StatusCreated)
}

// first and second are the accounts of the story.
func (c *cast) first() string  { return c.accounts[0] }
func (c *cast) second() string { return c.accounts[1] }

func (d *demo) open(ctx context.Context, p *page) error {
	return d.openGroup(ctx, p, "DE", "Für später", "Weltreise")
}

// openGroup opens a group of the customer with accounts of these names.
func (d *demo) openGroup(ctx context.Context, p *page, country string, names ...string) error {
	var group domain.AccountGroupResource
	err := d.request(ctx, p, http.MethodPost, "/account_groups", map[string]any{
		"user_id": d.cast.user, "type": "PERSONAL", "domicile": country, "tax_residencies": []string{country},
	}, &group, http.StatusCreated)
	if err != nil {
		return err
	}
	d.cast.group = group.ID
	d.cast.names[group.ID] = "the group"
	for _, kind := range []domain.ReportType{domain.ReportAccountClosing, domain.ReportAnnualTaxStatement} {
		d.cast.names[d.reportID(kind)] = "the report " + string(kind)
	}
	for i, name := range names {
		var account domain.AccountResource
		if err := d.request(ctx, p, http.MethodPost, "/accounts", map[string]any{
			"account_group_id": group.ID, "type": []string{"TRADING", "PORTFOLIO"}[i%2], "name": name,
		}, &account, http.StatusCreated); err != nil {
			return err
		}
		d.cast.accounts = append(d.cast.accounts, account.ID)
		d.cast.names[account.ID] = "account “" + name + "”"
	}
	var want [][2]string
	for _, id := range d.cast.accounts {
		want = append(want, [2]string{domain.PublishedAccountActivated, id})
	}
	return d.await(ctx, p, want...)
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
		position(d.cast.first(), isinApple, "3", 1),
		position(d.cast.second(), isinSAP, "10", 1),
		position(d.cast.second(), isinWorld, "12.5", 1),
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
	for _, path := range []string{"/accounts/" + d.cast.first(), "/accounts/" + d.cast.second(), d.closePath()} {
		if err := d.request(ctx, p, http.MethodDelete, path, nil, nil, http.StatusAccepted); err != nil {
			return err
		}
	}
	err := errors.Join(
		d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosing, domain.OpenPositions),
		d.expect(ctx, p, "account", d.cast.second(), domain.StatusClosing, domain.OpenPositions),
		d.expect(ctx, p, "account_group", d.cast.group, domain.StatusClosing, domain.OpenAccounts, domain.OutstandingFees, domain.CashBalance))
	if err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedGroupClosingInitiated, d.cast.group})
}

func (d *demo) sellFirst(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, position(d.cast.first(), isinApple, "0", 2), d.cash("622.15", 3)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.first(), domain.StatusClosed); err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedAccountClosed, d.cast.first()})
}

func (d *demo) sellSecond(ctx context.Context, p *page) error {
	if err := d.tellAll(ctx, p, position(d.cast.second(), isinSAP, "0", 2)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.second(), domain.StatusClosing, domain.OpenPositions); err != nil {
		return err
	}
	if err := d.tellAll(ctx, p, position(d.cast.second(), isinWorld, "0", 2), d.cash("4105.60", 4)); err != nil {
		return err
	}
	if err := d.expect(ctx, p, "account", d.cast.second(), domain.StatusClosed); err != nil {
		return err
	}
	return d.await(ctx, p, [2]string{domain.PublishedAccountClosed, d.cast.second()})
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

func (d *demo) fetchClosingReport(ctx context.Context, p *page) error {
	return d.fetchReport(ctx, p, domain.ReportAccountClosing)
}

// fetchReport waits for a report of the customer, and puts its PDF into the folder of the demo.
func (d *demo) fetchReport(ctx context.Context, p *page, kind domain.ReportType) error {
	id := d.reportID(kind)
	if err := d.await(ctx, p, [2]string{domain.PublishedReportCreated, id}); err != nil {
		return err
	}
	pdf, err := d.download(ctx, p, "/reports/"+id)
	if err != nil {
		return err
	}
	path := filepath.Join(d.out, string(kind)+"-"+id+".pdf")
	if err := os.WriteFile(path, pdf, 0o644); err != nil {
		return err
	}
	p.note("The PDF is at %s", path)
	return nil
}

// reportID is the id of a report of the customer: it derives from the group.
func (d *demo) reportID(kind domain.ReportType) string {
	return domain.NewAccountGroup(d.cast.group).ReportID(d.cast.user, kind)
}

func (d *demo) download(ctx context.Context, p *page, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.app.HTTPURL+path, nil)
	if err != nil {
		return nil, err
	}
	d.identify(req)
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
