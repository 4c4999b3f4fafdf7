package domain

// Page is which part of a list is asked for (CONTRACT: Lists).
type Page struct {
	Offset int  // from 0
	Limit  int  // 1 to 1000
	Sort   Sort // Defaults to created_at
	Order  SortOrder
}

// Sort is the member by which a list is sorted; ties are broken by the id, so that pages do not overlap.
type Sort string

// SortOrder is the direction of a list.
type SortOrder string

// How lists are sorted. The first of each is the default.
const (
	SortCreatedAt Sort = "created_at"
	SortUpdatedAt Sort = "updated_at"
	SortID        Sort = "id"

	Ascending  SortOrder = "ASC"
	Descending SortOrder = "DESC"
)

// The bounds of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// WithDefaults fills in what was not asked for.
func (p Page) WithDefaults() Page {
	if p.Limit == 0 {
		p.Limit = DefaultLimit
	}
	if p.Sort == "" {
		p.Sort = SortCreatedAt
	}
	if p.Order == "" {
		p.Order = Ascending
	}
	return p
}

// ClosureQuery is which closings are asked for. The list holds every resource whose closing was asked for, the oldest
// request first, also after CLOSED.
type ClosureQuery struct {
	// ClientID is the tenant. "" is every tenant: for operators only.
	ClientID string
	// Status of the resource; "" for any.
	Status Status
	// Blocker that stands against it; "" for any.
	Blocker BlockerCode
	// Reconciliation leaves only those with something to reconcile.
	Reconciliation bool
	Offset         int // from 0
	Limit          int // 1 to 1000; 0 is the default
}

// ClosureItem is a closing in a list.
type ClosureItem struct {
	Aggregate Kind    `json:"aggregate" enum:"account,account_group" doc:"The kind of the resource."`
	ID        string  `json:"id" format:"uuid" doc:"The resource."`
	ClientID  string  `json:"client_id,omitempty" format:"uuid" doc:"The tenant; only in the operators' list."`
	Closure   Closure `json:"closure" doc:"Its closing, with what stands against it."`
}
