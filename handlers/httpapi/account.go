package httpapi

import (
	"context"
	"errors"
	"net/http"

	"closure/domain"
	"closure/handlers/auth"
)

// newAccount is the body of POST /accounts.
type newAccount struct {
	AccountGroupID string             `json:"account_group_id" format:"uuid" doc:"The group that the account will belong to."`
	Type           domain.AccountType `json:"type" enum:"TRADING,PORTFOLIO" doc:"The type of the account."`
	Name           string             `json:"name" minLength:"1" maxLength:"100" doc:"A name for the account, without control characters."`

	// The public API has these, and this engine does not use them.
	UserID          any `json:"user_id,omitempty" doc:"Accepted and ignored: the users are those of the group."`
	ClientReference any `json:"client_reference,omitempty" doc:"Accepted and ignored."`
}

// accountChange is the body of PATCH /accounts/{id}.
type accountChange struct {
	Name string `json:"name" minLength:"1" maxLength:"100" doc:"The new name, without control characters."`
}

type (
	openAccount struct {
		Body newAccount
	}
	changeAccount struct {
		ByID
		Body accountChange
	}
)

func (a *api) registerAccounts() {
	register(a, route{
		id: "createAccount", scope: auth.AccountsAdmin, method: http.MethodPost, path: "/accounts", tag: tagAccounts, summary: "Open an account",
		text: "The account belongs to a group, which has to be PENDING_APPROVAL or ACTIVE. It gets the status of the group.",
		noun: nounGroup, conflicts: true, keyed: true,
		status: http.StatusCreated, success: "The account.", example: exampleAccount,
		request: newAccount{AccountGroupID: exampleGroup.ID, Type: domain.Trading, Name: exampleAccount.Name},
	}, a.openAccount)
	register(a, route{
		id: "listAccounts", scope: auth.AccountsRead, method: http.MethodGet, path: "/accounts", tag: tagAccounts, summary: "List the accounts",
		status: http.StatusOK, success: "A page of the accounts.", example: exampleList(exampleAccount),
	}, ofClient(a.lists.Accounts))
	register(a, route{
		id: "listUserAccounts", scope: auth.AccountsRead, method: http.MethodGet, path: "/users/{id}/accounts", tag: tagAccounts, summary: "List the accounts of a user",
		text: "An unknown user has an empty list.", noun: nounUser,
		status: http.StatusOK, success: "A page of the user's accounts.", example: exampleList(exampleAccount),
	}, ofUser(a.lists.Accounts))
	register(a, route{
		id: "getAccount", scope: auth.AccountsRead, method: http.MethodGet, path: "/accounts/{id}", tag: tagAccounts, summary: "Read an account", noun: nounAccount,
		status: http.StatusOK, success: "The account.", example: exampleAccount,
	}, func(ctx context.Context, in *ByID) (*found[domain.AccountResource], error) {
		return a.readAccount(ctx, in.ID)
	})
	register(a, route{
		id: "updateAccount", scope: auth.AccountsAdmin, method: http.MethodPatch, path: "/accounts/{id}", tag: tagAccounts, summary: "Rename an account",
		noun: nounAccount, conflicts: true,
		status: http.StatusOK, success: "The account.", example: exampleAccount, request: accountChange{Name: exampleAccount.Name},
	}, a.renameAccount)
	register(a, route{
		id: "closeAccount", scope: auth.AccountsAdmin, method: http.MethodDelete, path: "/accounts/{id}", tag: tagAccounts, summary: "Close an account",
		text: "The account becomes CLOSING, and CLOSED as soon as nothing stands against it. It is safe to repeat: a CLOSING account is accepted again. " +
			"Refused while the group has withdrawals in progress, and in any status but ACTIVE and CLOSING.",
		noun: nounAccount, conflicts: true, status: http.StatusAccepted, success: "The close request is taken.",
	}, a.closeAccount)
	register(a, route{
		id: "getAccountClosure", scope: auth.AccountsRead, method: http.MethodGet, path: "/accounts/{id}/closure", tag: tagAccounts, summary: "Read the checklist of an account's closing",
		text: "On an ACTIVE account it is the preview of what would refuse or block.", noun: nounAccount,
		status: http.StatusOK, success: "The checklist.", example: exampleClosure,
	}, a.accountClosure)
}

func (a *api) openAccount(ctx context.Context, in *openAccount) (*created[domain.AccountResource], error) {
	groupID, err := storedID("account_group_id", in.Body.AccountGroupID)
	if err != nil {
		return nil, err
	}
	id := newID(ctx)
	_, err = a.engine.Do(ctx, command(ctx, domain.KindAccount, id, &domain.OpenAccount{
		AccountGroupID: groupID, Type: in.Body.Type, Name: in.Body.Name,
	}))
	var refusal *domain.Refusal
	if errors.As(err, &refusal) && refusal.Kind == domain.NotFound {
		// It is the group that is not there; the account could not be.
		return nil, &domain.Refusal{Kind: domain.NotFound, Detail: "account_group_id: " + refusal.Detail}
	}
	if err != nil {
		return nil, err
	}
	account, err := a.readAccount(ctx, id)
	if err != nil {
		return nil, err
	}
	return &created[domain.AccountResource]{Location: "/accounts/" + id, Body: account.Body}, nil
}

func (a *api) readAccount(ctx context.Context, id string) (*found[domain.AccountResource], error) {
	account, err := a.engine.Account(ctx, requestOf(ctx).client, id)
	if err != nil {
		return nil, err
	}
	return &found[domain.AccountResource]{Body: account.Resource()}, nil
}

func (a *api) renameAccount(ctx context.Context, in *changeAccount) (*found[domain.AccountResource], error) {
	if _, err := a.engine.Do(ctx, command(ctx, domain.KindAccount, in.ID, &domain.RenameAccount{Name: in.Body.Name})); err != nil {
		return nil, err
	}
	return a.readAccount(ctx, in.ID)
}

func (a *api) closeAccount(ctx context.Context, in *ByID) (*nothing, error) {
	_, err := a.engine.Do(ctx, command(ctx, domain.KindAccount, in.ID, &domain.RequestAccountClosure{}))
	return &nothing{}, err
}

func (a *api) accountClosure(ctx context.Context, in *ByID) (*found[domain.Closure], error) {
	closure, err := a.engine.AccountClosure(ctx, requestOf(ctx).client, in.ID)
	return &found[domain.Closure]{Body: closure}, err
}

// storedID brings an id of a body into its stored form.
func storedID(field, given string) (string, error) {
	id, err := domain.ParseID(given)
	if err != nil {
		return "", &domain.Refusal{Kind: domain.Invalid, Detail: field + ": " + err.Error()}
	}
	return id, nil
}
