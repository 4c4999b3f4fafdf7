package domain

import (
	"errors"
	"strings"

	"github.com/shopspring/decimal"
)

// Decimal is an exact decimal number, kept in the very digits in which it was recorded: an auditor sees
// what the source sent. Form: -?[0-9]+(\.[0-9]+)?, at most 38 digits, 27 of them decimals.
type Decimal string

const (
	maxDigits   = 38
	maxDecimals = 27
)

var errDecimal = errors.New(`must be a decimal as a string, such as "12.50": digits, at most one point, an optional leading -, no exponent; at most 38 digits, 27 of them decimals`)

// Validate says what is wrong with d, or nil.
func (d Decimal) Validate() error {
	// The length first: nobody need walk a megabyte of digits.
	if len(d) > maxDigits+2 {
		return errDecimal
	}
	whole, fraction, point := strings.Cut(strings.TrimPrefix(string(d), "-"), ".")
	if !allDigits(whole) || point && !allDigits(fraction) || len(whole)+len(fraction) > maxDigits || len(fraction) > maxDecimals {
		return errDecimal
	}
	return nil
}

// allDigits: one at least, and nothing else.
func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// IsZero tells whether d is zero by value: "0", "0.00" and "-0" are.
func (d Decimal) IsZero() bool { return strings.Trim(string(d), "-0.") == "" }

// IsNegative tells whether d is below zero.
func (d Decimal) IsNegative() bool { return strings.HasPrefix(string(d), "-") && !d.IsZero() }

// Add is d + other, exactly.
func (d Decimal) Add(other Decimal) Decimal { return Decimal(d.exact().Add(other.exact()).String()) }

// Sub is d - other, exactly.
func (d Decimal) Sub(other Decimal) Decimal { return Decimal(d.exact().Sub(other.exact()).String()) }

// exact is the number that the digits say; "" is zero. What is recorded was validated, so nothing else is there.
func (d Decimal) exact() decimal.Decimal {
	n, err := decimal.NewFromString(string(d))
	if err != nil {
		return decimal.Zero
	}
	return n
}
