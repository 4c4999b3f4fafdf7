package domain

import (
	"strings"

	"golang.org/x/text/currency"
)

// A fact states the whole present value of one key, with a revision that increases at its source. A revision that
// is not above the last one seen for the key changes nothing; a higher one is recorded even if the value is the
// same. So facts may come twice, late or out of order, and the state ends the same.

// isISIN tells of the form of an ISIN: two letters, nine letters or digits, one digit.
func isISIN(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		letter, digit := s[i] >= 'A' && s[i] <= 'Z', s[i] >= '0' && s[i] <= '9'
		if !letter && !digit || letter && i == 11 || digit && i < 2 {
			return false
		}
	}
	return true
}

// checkISIN checks the form and the check digit of an ISIN (ISO 6166).
func checkISIN(field, isin string) error {
	if !isISIN(isin) {
		return invalid(field, "must be an ISIN such as US0378331005: two letters, nine letters or digits, one check digit; got %s", Quote(isin))
	}
	if !luhn(isin) {
		return invalid(field, "must be an ISIN whose check digit fits, got %s", Quote(isin))
	}
	return nil
}

// luhn spells letters as numbers (A is 10) and doubles every second digit from the right.
func luhn(isin string) bool {
	digits := make([]int, 0, 24) // two for a letter
	for _, r := range isin {
		if r >= 'A' {
			digits = append(digits, int(r-'A'+10)/10, int(r-'A'+10)%10)
		} else {
			digits = append(digits, int(r-'0'))
		}
	}
	sum := 0
	for i, d := range digits {
		if (len(digits)-i)%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return sum%10 == 0
}

func checkCurrency(field, code string) error {
	unit, err := currency.ParseISO(code)
	// XXX means no currency, and XTS is for tests: nobody can hold or pay either.
	if err != nil || unit.String() != code || code == "XXX" || code == "XTS" {
		return invalid(field, "must be a currency code of ISO 4217 in capitals, such as EUR; got %s", Quote(code))
	}
	return nil
}

// countries are the codes that ISO 3166-1 has assigned. A list of our own, since x/text also takes codes of countries
// that are no more (DD, SU, YU), and of what is no country (EZ, UN): nobody is tax resident there.
const countries = " AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ" +
	" CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR" +
	" GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP" +
	" KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ" +
	" NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW" +
	" SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ" +
	" UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW "

func checkCountry(field, code string) error {
	if len(code) != 2 || !strings.Contains(countries, " "+code+" ") {
		return invalid(field, "must be a country code of ISO 3166-1 alpha-2 in capitals, such as DE; got %s", Quote(code))
	}
	return nil
}

// newer is the rule of revisions.
func newer(revision, seen int64) bool { return revision > seen }
