package httpapi

import (
	"context"

	"closure/domain"
)

// PageQuery is which part of a list is asked for. huma holds the bounds. It is exported for the same reason as ByID.
type PageQuery struct {
	Offset int              `query:"offset" minimum:"0" default:"0" doc:"How many items to pass over."`
	Limit  int              `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items to answer at most."`
	Sort   domain.Sort      `query:"sort" enum:"created_at,updated_at,id" default:"created_at" doc:"The member to sort by. Items that are equal in it are sorted by id."`
	Order  domain.SortOrder `query:"order" enum:"ASC,DESC" default:"ASC" doc:"The direction."`
}

func (q PageQuery) page() domain.Page {
	return domain.Page{Offset: q.Offset, Limit: q.Limit, Sort: q.Sort, Order: q.Order}
}

// The inputs of lists: of a client, and of a user of a client.
type (
	clientList struct {
		PageQuery
	}
	userList struct {
		ByID
		PageQuery
	}
)

// list is a page of a list.
type list[T any] struct {
	Meta meta `json:"meta" doc:"Which part of the list this is."`
	Data []T  `json:"data" doc:"The items."`
}

// meta says which part of a list is in the answer.
type meta struct {
	Offset     int    `json:"offset" minimum:"0" doc:"How many items were passed over."`
	Limit      int    `json:"limit" minimum:"1" doc:"How many items were asked for at most."`
	Count      int    `json:"count" minimum:"0" doc:"How many items are in data."`
	TotalCount int    `json:"total_count" minimum:"0" doc:"How many items there are in all."`
	Sort       string `json:"sort" doc:"The member that the list is sorted by."`
	Order      string `json:"order" enum:"ASC,DESC" doc:"The direction."`
}

// listOf answers with what a reader of lists gave.
func listOf[T any](q PageQuery, items []T, total int, err error) (*found[list[T]], error) {
	if err != nil {
		return nil, err
	}
	return &found[list[T]]{Body: list[T]{
		Meta: meta{Offset: q.Offset, Limit: q.Limit, Count: len(items), TotalCount: total, Sort: string(q.Sort), Order: string(q.Order)},
		Data: items,
	}}, nil
}

// section is the part of a whole list that was asked for.
func section[T any](all []T, offset, limit int) []T {
	from := min(offset, len(all))
	return all[from : from+min(limit, len(all)-from)]
}

// lister reads a list of a client; of one user of it, unless userID is "".
type lister[T any] func(ctx context.Context, clientID, userID string, page domain.Page) ([]T, int, error)

// ofClient and ofUser serve a list.
func ofClient[T any](read lister[T]) func(context.Context, *clientList) (*found[list[T]], error) {
	return func(ctx context.Context, in *clientList) (*found[list[T]], error) {
		items, total, err := read(ctx, requestOf(ctx).client, "", in.page())
		return listOf(in.PageQuery, items, total, err)
	}
}

func ofUser[T any](read lister[T]) func(context.Context, *userList) (*found[list[T]], error) {
	return func(ctx context.Context, in *userList) (*found[list[T]], error) {
		items, total, err := read(ctx, requestOf(ctx).client, in.ID, in.page())
		return listOf(in.PageQuery, items, total, err)
	}
}

// exampleList is a list of one item, for the document.
func exampleList[T any](item T) list[T] {
	return list[T]{
		Meta: meta{Limit: domain.DefaultLimit, Count: 1, TotalCount: 1, Sort: string(domain.SortCreatedAt), Order: string(domain.Ascending)},
		Data: []T{item},
	}
}
