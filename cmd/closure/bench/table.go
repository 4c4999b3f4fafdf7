package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// String is a result on one line.
func (r Result) String() string {
	if r.NotMeasured != "" {
		return r.Name + ": not measured: " + r.NotMeasured
	}
	s := fmt.Sprintf("%s: %s", r.Name, value(r.Value, r.Unit))
	if r.Baseline != "" {
		s += fmt.Sprintf(", %s %s, ratio %.2f (%.2f-%.2f)", r.Baseline, value(r.BaselineValue, r.Unit), r.Ratio, r.RatioMin, r.RatioMax)
	}
	return s
}

// value writes a number with as many digits as mean something.
func value(v float64, unit string) string {
	if v < 100 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return thousands(int(math.Round(v))) + " " + unit
}

// outcome says whether the target is reached.
func (r Result) outcome() string {
	switch {
	case r.Reached == nil:
		return ""
	case *r.Reached:
		return "reached"
	}
	return "NOT REACHED"
}

// Table writes the report for people.
func (r Report) Table(w io.Writer) error {
	var b strings.Builder
	r.heading(&b)
	rows := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(rows, strings.Join(cells, "\t")) } // a Builder never fails
	line("figure", "engine", "baseline", "", "ratio", "spread", "to reach", "")
	for _, f := range r.Figures {
		// Every row has every cell: the columns stand below each other.
		switch {
		case f.NotMeasured != "":
			line(f.Name, "not measured", "", "", "", "", "", "")
		case f.Baseline == "":
			line(f.Name, value(f.Value, f.Unit), "", "", "", "", "", "")
		default:
			target := ""
			if f.Target > 0 {
				target = fmt.Sprintf("%.2f", f.Target)
			}
			line(f.Name, value(f.Value, f.Unit), f.Baseline, value(f.BaselineValue, f.Unit),
				fmt.Sprintf("%.2f", f.Ratio), fmt.Sprintf("%.2f-%.2f", f.RatioMin, f.RatioMax), target, f.outcome())
		}
	}
	if err := rows.Flush(); err != nil {
		return err
	}
	r.notes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// heading says what was measured, and on what.
func (r Report) heading(b *strings.Builder) {
	m := r.Machine
	fmt.Fprintf(b, "closure %s, nats-server %s (%s), replicas %d, %s, %s/%s\n", r.Version, r.NATSServer, r.Server, r.Replicas, m.Go, m.OS, m.Arch)
	cpu := m.CPU
	if cpu == "" {
		cpu = "unknown CPU"
	}
	fmt.Fprintf(b, "%s, %d cores", cpu, m.Cores)
	if m.MemoryBytes > 0 {
		fmt.Fprintf(b, ", %.1f GiB of memory", float64(m.MemoryBytes)/(1<<30))
	}
	switch {
	case m.FsyncSeconds == 0:
		b.WriteString("; the disk of a given server cannot be measured from here, nor how it syncs\n")
	default:
		on := ""
		if m.Filesystem != "" {
			on = " on " + m.Filesystem
		}
		fmt.Fprintf(b, "; an fsync%s takes %.2f ms\n", on, m.FsyncSeconds*1000)
	}
	if !r.Comparable {
		fmt.Fprintf(b, "%s: smaller logs and shorter rounds, not comparable with the table of a full run\n", r.Size)
	}
	b.WriteString("\n")
}

// notes are what the rows have no room for.
func (r Report) notes(b *strings.Builder) {
	b.WriteString("\nEngine and baseline take turns; each value is the median of its rounds, the ratio that of the rounds' ratios.\n")
	for _, f := range r.Figures {
		if f.NotMeasured != "" {
			fmt.Fprintf(b, "  %s: not measured: %s\n", f.Name, f.NotMeasured)
		}
		if f.Note != "" {
			fmt.Fprintf(b, "  %s: %s\n", f.Name, f.Note)
		}
	}
	fmt.Fprintf(b, "Measured in %s.\n", time.Duration(r.TookSeconds*float64(time.Second)).Round(time.Second))
}
