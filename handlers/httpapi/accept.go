package httpapi

import (
	"mime"
	"strconv"
	"strings"
)

// The media types of the contract.
const (
	mediaJSON    = "application/json"
	mediaPDF     = "application/pdf"
	mediaText    = "text/plain"
	mediaProblem = "application/problem+json"
	mediaForm    = "application/x-www-form-urlencoded"
)

// negotiate picks the media type of the answer (RFC 9110, 12.5.1). offers are in our order of preference: it decides
// between what the client likes equally, unless it named one more precisely. Without an Accept header the first is taken;
// ok is false when the client takes none. A range that cannot be read is passed over.
func negotiate(accept []string, offers []string) (media string, ok bool) {
	ranges := parseAccept(accept)
	if len(ranges) == 0 {
		return offers[0], strings.TrimSpace(strings.Join(accept, "")) == ""
	}
	best := mediaRange{}
	for _, offer := range offers {
		r := rangeOf(ranges, offer)
		if r.quality > best.quality || (r.quality == best.quality && r.precision > best.precision) {
			media, best = offer, r
		}
	}
	return media, best.quality > 0
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	pattern   string
	quality   float64 // 0 to 1; 0 refuses
	precision int     // 1 for */*, 2 for type/*, 3 for type/subtype
}

func parseAccept(accept []string) []mediaRange {
	var ranges []mediaRange
	for element := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		pattern, params, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		r := mediaRange{pattern: pattern, quality: 1, precision: 3}
		if pattern == "*" { // what some clients send for */*
			r.pattern = "*/*"
		}
		if strings.HasSuffix(r.pattern, "/*") {
			r.precision = 2
		}
		if r.pattern == "*/*" {
			r.precision = 1
		}
		if q, given := params["q"]; given {
			r.quality, err = strconv.ParseFloat(q, 64)
			if err != nil || !(r.quality >= 0 && r.quality <= 1) {
				continue
			}
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// rangeOf is the most precise range that the offer falls into; the zero range, which refuses, for none.
func rangeOf(ranges []mediaRange, offer string) mediaRange {
	var found mediaRange
	family, _, _ := strings.Cut(offer, "/")
	for _, r := range ranges {
		fits := r.pattern == "*/*" || r.pattern == family+"/*" || r.pattern == offer
		if fits && r.precision > found.precision {
			found = r
		}
	}
	return found
}
