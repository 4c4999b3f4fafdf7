package endpoint

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// readAtMost is how much of an answer is read, in bytes; one that ends within it leaves the connection usable.
	readAtMost = 64 << 10
	// keepBody and keepHeader are how much of it an outcome holds, in bytes.
	keepBody   = 4 << 10
	keepHeader = 4 << 10
	// maxRetryAfter bounds what an answer can ask for.
	maxRetryAfter = time.Hour
)

// readAnswer judges an answer by its status, and reads on only for what an outcome shows and so that the connection can be
// used again. The request's context bounds how long that takes.
func readAnswer(res *http.Response, now time.Time) Outcome {
	defer func() { _ = res.Body.Close() }() // before the end of the body, this ends the connection
	out := Outcome{Status: res.StatusCode, Header: someOf(res.Header), Gone: res.StatusCode == http.StatusGone}
	out.Failure, out.Detail = judge(res.StatusCode)
	if out.Failure != "" {
		out.RetryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return out // what follows is no answer any more, and has no end
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, keepBody))
	out.Body = body
	if err == nil {
		var more int64
		more, err = io.CopyN(io.Discard, res.Body, int64(readAtMost-len(body)))
		out.Truncated = more > 0 || err != io.EOF
	} else {
		out.Truncated = true
	}
	return out
}

// judge a status: 2xx is a success.
func judge(status int) (Failure, string) {
	switch {
	case status >= 200 && status <= 299:
		return "", ""
	case status >= 300 && status <= 399:
		return Redirect, fmt.Sprintf("the endpoint answered with the redirect %d, and redirects are not followed: subscribe the URL "+
			"that they lead to", status)
	}
	return Status, fmt.Sprintf("the endpoint answered with the status %d", status)
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds or a date. What is neither, or over, is 0.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds > int(maxRetryAfter/time.Second) { // err: more digits than a number can have
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// someOf is the part of a header that an outcome holds: whole values, in the order of names, up to keepHeader. Cookies are
// left out: they are secrets, and nothing here gives them back.
func someOf(header http.Header) http.Header {
	out, size := http.Header{}, 0
	for _, name := range slices.Sorted(maps.Keys(header)) {
		if strings.HasPrefix(name, "Set-Cookie") {
			continue
		}
		for _, value := range header[name] {
			if size+len(name)+len(value) > keepHeader {
				continue
			}
			size += len(name) + len(value)
			out[name] = append(out[name], value)
		}
	}
	return out
}
