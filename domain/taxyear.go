package domain

import (
	"fmt"
	"time"
	_ "time/tzdata" // the rules of time zones are linked in: a machine may have none
)

// The rules on dates. Each country's own clock counts, whatever clock the engine's machine shows.

// domicileUK is the domicile whose accounts close only when the tax year ends.
const domicileUK = "GB"

// residencyDE is the tax residency that gets an annual tax statement.
const residencyDE = "DE"

var (
	london = zone("Europe/London")
	berlin = zone("Europe/Berlin")
)

func zone(name string) *time.Location {
	location, err := time.LoadLocation(name)
	if err != nil {
		panic(fmt.Sprintf("the time zone %s is linked in, and cannot be loaded: %v", name, err)) // a broken build
	}
	return location
}

// TaxYearEnd is the first instant of the UK's next tax year after a time: 6 April, 00:00 in London. At that very instant the
// next one counts, for the year that ends there is over. Source: the guide ("in the UK accounts will only be closed at the
// end of a tax year"); the UK tax year runs from 6 April to 5 April.
func TaxYearEnd(after time.Time) time.Time {
	year := after.In(london).Year()
	end := time.Date(year, time.April, 6, 0, 0, 0, 0, london)
	if !end.After(after) {
		end = time.Date(year+1, time.April, 6, 0, 0, 0, 0, london)
	}
	return end.UTC()
}

// TaxYear is the German tax year of a time: the calendar year in Berlin.
func TaxYear(t time.Time) int { return t.In(berlin).Year() }

// MonthDay is a day of every year.
type MonthDay struct {
	Month time.Month
	Day   int
}

// DefaultTaxStatementDay is when the annual tax statement of the year before is made: the guide says "around March of the
// following year".
var DefaultTaxStatementDay = MonthDay{time.March, 15}

// TaxStatementDue is when the statement of a tax year is made: the day, 00:00 in Berlin, of the following year.
func TaxStatementDue(year int, day MonthDay) time.Time {
	return time.Date(year+1, day.Month, day.Day, 0, 0, 0, 0, berlin).UTC()
}
