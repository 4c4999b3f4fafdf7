package domain

// Page is which part of a list is asked for (CONTRACT: Lists).
type Page struct {
	Offset int  // from 0
	Limit  int  // 1 to 1000
	Sort   Sort // Defaults to created_at
	Order  Order
}

// Sort is the member by which a list is sorted; ties are broken by the id, so that pages do not overlap.
type Sort string

// Order is the direction of a list.
type Order string

// How lists are sorted. The first of each is the default.
const (
	SortCreatedAt Sort = "created_at"
	SortUpdatedAt Sort = "updated_at"
	SortID        Sort = "id"

	Ascending  Order = "ASC"
	Descending Order = "DESC"
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
