// Series prints what Prometheus' own parser reads of a metrics page: one JSON line for each sample, or "refused".
//
// It is asked for one page after another: a line with the content type and the length in bytes, then the page. After each page it prints an empty
// line.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

type sample struct {
	Labels [][2]string `json:"labels"`
	// In Go's shortest form: JSON has no NaN.
	Value        string `json:"value"`
	Milliseconds *int64 `json:"milliseconds,omitempty"`
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		head, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return
		}
		var length int
		var kind string
		if _, scanned := fmt.Sscanf(head, "%d %q", &length, &kind); err != nil || scanned != nil {
			panic(fmt.Sprint("not understood: ", head, err, scanned))
		}
		page := make([]byte, length)
		if _, err := io.ReadFull(in, page); err != nil {
			panic(err)
		}
		samples, err := read(page, kind)
		if err != nil {
			fmt.Fprintln(out, "refused")
		} else {
			for _, each := range samples {
				line, err := json.Marshal(each)
				if err != nil {
					panic(err)
				}
				fmt.Fprintln(out, string(line))
			}
		}
		fmt.Fprintln(out)
		out.Flush()
	}
}

func read(page []byte, kind string) ([]sample, error) {
	parser, err := textparse.New(page, kind, labels.NewSymbolTable(), textparse.ParserOptions{})
	if parser == nil {
		return nil, err
	}
	var found []sample
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, at, value := parser.Series()
		one := sample{Value: strconv.FormatFloat(value, 'g', -1, 64)}
		if at != nil {
			// The parser's own, and another line's soon.
			milliseconds := *at
			one.Milliseconds = &milliseconds
		}
		var set labels.Labels
		parser.Labels(&set)
		set.Range(func(label labels.Label) { one.Labels = append(one.Labels, [2]string{label.Name, label.Value}) })
		found = append(found, one)
	}
}
