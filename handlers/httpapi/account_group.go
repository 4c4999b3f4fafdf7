package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"closure/domain"
	"closure/handlers/auth"
)

// newAccountGroup is the body of POST /account_groups. Exactly one of UserID and Users is given.
type newAccountGroup struct {
	UserID         string           `json:"user_id,omitempty" format:"uuid" doc:"The one OWNER. Give either user_id or users."`
	Users          []domain.Party   `json:"users,omitempty" minItems:"1" maxItems:"10" doc:"Who the group belongs to, and who acts for them; one OWNER or CHILD at least. Give either user_id or users."`
	Type           domain.GroupType `json:"type" enum:"PERSONAL,JOINT,LEGAL_ENTITY,FRENCH_PEA,ISA,CHILD,BUSINESS" doc:"The type of the group."`
	Domicile       string           `json:"domicile,omitempty" doc:"A country code of ISO 3166-1 alpha-2, such as DE. Without one no date rule holds. An addition of this engine."`
	TaxResidencies []string         `json:"tax_residencies,omitempty" maxItems:"10" doc:"Country codes of ISO 3166-1 alpha-2. An addition of this engine."`

	// The public API has these, and this engine does not use them.
	SecuritiesAccountNumber any `json:"securities_account_number,omitempty" doc:"Accepted and ignored: the engine gives the number."`
	ClientReference         any `json:"client_reference,omitempty" doc:"Accepted and ignored."`
}

type (
	openAccountGroup struct {
		Body newAccountGroup
	}
	closeAccountGroup struct {
		ByID
		ClosureReason    domain.ClosureReason `query:"closure_reason" enum:"dunning,power_of_attorney,loss_of_legal_capacity,aml,risk_based,contract_breach,user_initiated" doc:"Why it is closed. The first reason that was given stays."`
		NotificationOnly bool                 `query:"notification_only" doc:"With true the closing is only announced: the status stays ACTIVE."`
	}
)

func (a *api) registerAccountGroups() {
	register(a, route{
		id: "createAccountGroup", scope: auth.AccountsAdmin, method: http.MethodPost, path: "/account_groups", tag: tagGroups, summary: "Open an account group",
		text:      "It is refused for a user who is OFFBOARDING or OFFBOARDED, and for a user id that is taken.",
		conflicts: true, keyed: true, status: http.StatusCreated, success: "The account group.", example: exampleGroup,
		request: newAccountGroup{UserID: exampleUser, Type: "PERSONAL", Domicile: "DE", TaxResidencies: []string{"DE"}},
	}, a.openAccountGroup)
	register(a, route{
		id: "listAccountGroups", scope: auth.AccountsRead, method: http.MethodGet, path: "/account_groups", tag: tagGroups, summary: "List the account groups",
		status: http.StatusOK, success: "A page of the account groups.", example: exampleList(exampleGroup),
	}, ofClient(a.lists.AccountGroups))
	register(a, route{
		id: "listUserAccountGroups", scope: auth.AccountsRead, method: http.MethodGet, path: "/users/{id}/account_groups", tag: tagGroups, summary: "List the account groups of a user",
		text: "An unknown user has an empty list.", noun: nounUser,
		status: http.StatusOK, success: "A page of the user's account groups.", example: exampleList(exampleGroup),
	}, ofUser(a.lists.AccountGroups))
	register(a, route{
		id: "getAccountGroup", scope: auth.AccountsRead, method: http.MethodGet, path: "/account_groups/{id}", tag: tagGroups, summary: "Read an account group",
		noun: nounGroup, status: http.StatusOK, success: "The account group.", example: exampleGroup,
	}, func(ctx context.Context, in *ByID) (*found[domain.AccountGroupResource], error) {
		return a.readAccountGroup(ctx, in.ID)
	})
	register(a, route{
		id: "closeAccountGroup", scope: auth.AccountsAdmin, method: http.MethodDelete, path: "/account_groups/{id}", tag: tagGroups, summary: "Close an account group",
		text: "The group becomes CLOSING, and CLOSED as soon as all its accounts are CLOSED, no fee collection and no withdrawal is in progress, and no cash is left. " +
			"Its accounts do not close by themselves. It is safe to repeat: a CLOSING group is accepted again. " +
			"Refused while withdrawals are in progress, and in any status but ACTIVE and CLOSING.",
		noun: nounGroup, conflicts: true, status: http.StatusAccepted, success: "The close request, or the announcement, is taken.",
	}, a.closeAccountGroup)
	register(a, route{
		id: "getAccountGroupClosure", scope: auth.AccountsRead, method: http.MethodGet, path: "/account_groups/{id}/closure", tag: tagGroups, summary: "Read the checklist of an account group's closing",
		text: "On an ACTIVE group it is the preview of what would refuse or block.", noun: nounGroup,
		status: http.StatusOK, success: "The checklist.", example: exampleGroupClosure,
	}, a.accountGroupClosure)
}

func (a *api) openAccountGroup(ctx context.Context, in *openAccountGroup) (*created[domain.AccountGroupResource], error) {
	users, err := in.Body.parties()
	if err != nil {
		return nil, err
	}
	id := newID(ctx)
	_, err = a.engine.Do(ctx, command(ctx, domain.KindAccountGroup, id, &domain.OpenAccountGroup{
		Users: users, Type: in.Body.Type, Domicile: in.Body.Domicile, TaxResidencies: in.Body.TaxResidencies,
	}))
	if err != nil {
		return nil, err
	}
	group, err := a.readAccountGroup(ctx, id)
	if err != nil {
		return nil, err
	}
	return &created[domain.AccountGroupResource]{Location: "/account_groups/" + id, Body: group.Body}, nil
}

// parties are the users of the new group, with their ids in the stored form.
func (b newAccountGroup) parties() ([]domain.Party, error) {
	if (b.UserID == "") == (b.Users == nil) {
		return nil, &domain.Refusal{Kind: domain.Invalid, Detail: "user_id: give either user_id (the one OWNER) or users, not both and not neither"}
	}
	if b.UserID != "" {
		id, err := storedID("user_id", b.UserID)
		return []domain.Party{{ID: id, Type: domain.Owner}}, err
	}
	users := make([]domain.Party, len(b.Users))
	for i, u := range b.Users {
		id, err := storedID(fmt.Sprintf("users[%d].id", i), u.ID)
		if err != nil {
			return nil, err
		}
		users[i] = domain.Party{ID: id, Type: u.Type}
	}
	return users, nil
}

func (a *api) readAccountGroup(ctx context.Context, id string) (*found[domain.AccountGroupResource], error) {
	group, err := a.engine.AccountGroup(ctx, requestOf(ctx).client, id)
	if err != nil {
		return nil, err
	}
	return &found[domain.AccountGroupResource]{Body: group.Resource()}, nil
}

func (a *api) closeAccountGroup(ctx context.Context, in *closeAccountGroup) (*nothing, error) {
	_, err := a.engine.Do(ctx, command(ctx, domain.KindAccountGroup, in.ID, &domain.RequestAccountGroupClosure{
		ClosureReason: in.ClosureReason, NotificationOnly: in.NotificationOnly,
	}))
	return &nothing{}, err
}

func (a *api) accountGroupClosure(ctx context.Context, in *ByID) (*found[domain.Closure], error) {
	closure, err := a.engine.AccountGroupClosure(ctx, requestOf(ctx).client, in.ID)
	return &found[domain.Closure]{Body: closure}, err
}
