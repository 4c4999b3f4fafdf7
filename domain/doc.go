// Package domain says what closing an investment account or an account group means.
//
// It is pure: no network, no storage, no clock, no log, no randomness. Time and ids come in on the
// command. An aggregate is a fold of its events; Decide answers a command with events, with nothing
// ("already so"), or with a *Refusal that can be shown to whoever asked.
//
// Every aggregate file reads in the same order: Events, State, Evolve, Decide.
package domain
