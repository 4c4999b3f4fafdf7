package httpapi

import (
	"context"
	"net/http"

	"closure/domain"
	"closure/handlers/auth"
)

func (a *api) registerUsers() {
	register(a, route{
		id: "getUser", scope: auth.UsersRead, method: http.MethodGet, path: "/users/{id}", tag: tagUsers, summary: "Read a user",
		text: "An addition of this engine. A user exists from the first account group on.", noun: nounUser,
		status: http.StatusOK, success: "The user.", example: exampleUserResource,
	}, a.readUser)
	register(a, route{
		id: "offboardUser", scope: auth.UsersAdmin, method: http.MethodDelete, path: "/users/{id}", tag: tagUsers, summary: "Offboard a user",
		text: "The user becomes OFFBOARDING, and OFFBOARDED as soon as no annual tax statement is still to be made. It is safe to repeat. " +
			"Refused while an account group of the user is not CLOSED.",
		noun: nounUser, conflicts: true, status: http.StatusAccepted, success: "The request is taken.",
	}, a.offboardUser)
}

func (a *api) readUser(ctx context.Context, in *ByID) (*found[domain.UserResource], error) {
	user, err := a.engine.User(ctx, requestOf(ctx).client, in.ID)
	if err != nil {
		return nil, err
	}
	return &found[domain.UserResource]{Body: user.Resource()}, nil
}

func (a *api) offboardUser(ctx context.Context, in *ByID) (*nothing, error) {
	_, err := a.engine.Do(ctx, command(ctx, domain.KindUser, in.ID, &domain.RequestOffboarding{}))
	return &nothing{}, err
}
