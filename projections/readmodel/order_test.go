package readmodel_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"closure/domain"
	"closure/projections/readmodel"
)

// checkOrder: the model knows the order in that account, and in none ("").
func checkOrder(t *testing.T, m *readmodel.Model, client, order, account string) {
	t.Helper()
	got, ok, err := m.OrderAccount(testContext(t), client, order)
	require.NoError(t, err)
	require.Equal(t, account, got)
	require.Equal(t, account != "", ok)
}

// Orders of every kind are found in their accounts: placed one by one, by a liquidation, and by a position that comes into it.
func TestOrderAccount(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	m, _ := started(t, w.log, path)
	owner := domain.Party{ID: uuid.NewString(), Type: domain.Owner}
	group := w.openGroup(owner)
	first, second := w.openAccount(group, "first"), w.openAccount(group, "second")
	want := map[string]string{
		w.placeOrder(first, domain.Buy): first, w.placeOrder(first, domain.Sell): first, w.placeOrder(second, domain.Buy): second,
	}
	w.position(second, isin1, "5", 1)
	w.position(second, isin2, "7", 1)
	liquidation := uuid.NewString()
	w.do(domain.KindAccount, second, &domain.RequestLiquidation{LiquidationID: liquidation, UserID: owner.ID})
	w.position(second, "US0378331005", "1", 1)
	sold, _ := w.account(second).Liquidation(liquidation)
	require.Len(t, sold.OrderIDs, 3, "the liquidation has an order for each position")
	for _, id := range sold.OrderIDs {
		want[id] = second
	}
	w.closeAccount(second)

	for id, account := range want {
		checkOrder(t, m, w.client, id, account)
		checkOrder(t, m, uuid.NewString(), id, "") // another client's
	}
	checkOrder(t, m, w.client, uuid.NewString(), "")
	checkOrder(t, m, w.client, liquidation, "")
	checkOrder(t, m, w.client, second, "")
	checkOrder(t, m, "", sold.OrderIDs[0], "")

	// A file that is built anew has the same.
	fresh, _ := started(t, w.log, file(t))
	stop(t, m)
	again, _ := started(t, w.log, path)
	for id, account := range want {
		checkOrder(t, fresh, w.client, id, account)
		checkOrder(t, again, w.client, id, account)
	}
}

// Whoever asks right after an order was accepted is told its account.
func TestOrderAccountRightAfterTheOrder(t *testing.T) {
	w := newWorld(t)
	m, _ := started(t, w.log, file(t))
	account := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	for range 50 {
		checkOrder(t, m, w.client, w.placeOrder(account, domain.Buy), account)
	}
}

// While the model cannot write, an order that it has not taken in is waited for, and others are answered at once.
func TestOrderAccountWaits(t *testing.T) {
	w := newWorld(t)
	path := file(t)
	m, _ := started(t, w.log, path)
	account := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "one")
	known := w.placeOrder(account, domain.Buy)
	caughtUp(t, w.log, m)

	blocked, err := openFile(t, path).Conn(testContext(t))
	require.NoError(t, err)
	_, err = blocked.ExecContext(testContext(t), `BEGIN IMMEDIATE`)
	require.NoError(t, err)
	placed := w.placeOrder(account, domain.Sell)
	checkOrder(t, m, w.client, known, account)
	for _, id := range []string{placed, uuid.NewString()} {
		_, ok, err := m.OrderAccount(shortContext(t), w.client, id)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it may be on its way, so the answer cannot be that there is none")
		require.False(t, ok)
	}

	type answer struct {
		account string
		ok      bool
		err     error
	}
	answered := make(chan answer, 1)
	go func() {
		var a answer
		a.account, a.ok, a.err = m.OrderAccount(testContext(t), w.client, placed)
		answered <- a
	}()
	_, err = blocked.ExecContext(testContext(t), `ROLLBACK`)
	require.NoError(t, err)
	require.NoError(t, blocked.Close())
	require.Equal(t, answer{account: account, ok: true}, <-answered)
}

// An id that a client uses in two accounts stays with the first one in the log, however the commits come in batches; and an id
// that two clients use is of each of them.
func TestOrderIDTwice(t *testing.T) {
	w := newWorld(t)
	step, _ := started(t, w.log, file(t))
	group := w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner})
	touchedFirst, orderedFirst := w.openAccount(group, "a"), w.openAccount(group, "b")
	id := uuid.NewString()
	for _, account := range []string{orderedFirst, touchedFirst} {
		w.do(domain.KindAccount, account, &domain.PlaceOrder{OrderID: id, Side: domain.Buy, ISIN: isin1, Quantity: "1"})
		caughtUp(t, w.log, step)
	}
	first := w.client
	w.client = uuid.NewString()
	others := w.openAccount(w.openGroup(domain.Party{ID: uuid.NewString(), Type: domain.Owner}), "c")
	w.do(domain.KindAccount, others, &domain.PlaceOrder{OrderID: id, Side: domain.Buy, ISIN: isin1, Quantity: "1"})

	atOnce, _ := started(t, w.log, file(t))
	for _, m := range []*readmodel.Model{step, atOnce} {
		checkOrder(t, m, first, id, orderedFirst)
		checkOrder(t, m, w.client, id, others)
	}
}
