package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
)

// settings says how the shop answers and how it misbehaves. Every field is a flag; each flag can also be given as an
// environment variable or as a line of CONFIG_FILE, under the flag's name in capitals (fail-percent: FAIL_PERCENT).
// The command line wins over the environment, the environment over the file.
type settings struct {
	listen        string
	metricsListen string
	configFile    string
	version       string
	podName       string
	message       string

	// Share of requests answered with 500, 0 to 100, from failAfterSeconds of uptime on.
	failPercent      float64
	failAfterSeconds float64
	// Median of the answer's delay. 0: none.
	latencyMS float64
	// Processor time burnt for each request, so that an autoscaler has something to measure.
	cpuMS float64
	// Uptime after which the program exits with code 1. Negative: never.
	crashAfterSeconds float64
	// Memory that is taken and never given back.
	leakMiBPerSecond float64
	// Readiness answers 503 for ever.
	notReady bool
}

// readSettings reads the command line, then what it leaves open from the environment, then from the configuration file.
// A name or a value in the file that nobody knows is an error: a bad configuration has to be seen, not ignored.
func readSettings(args []string, lookupEnv func(string) (string, bool), output io.Writer) (settings, error) {
	var s settings
	hostName, _ := os.Hostname() // without a name the pod is shown as empty, nothing depends on it
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&s.listen, "listen", ":8080", "address of the shop")
	flags.StringVar(&s.metricsListen, "metrics-listen", "", "address of /metrics; empty: the shop's own")
	flags.StringVar(&s.configFile, "config-file", "", "file of NAME=value lines; not from the file itself")
	flags.StringVar(&s.version, "version", "0", "answered in x-version and in the body")
	flags.StringVar(&s.podName, "pod-name", hostName, "answered in the body")
	flags.StringVar(&s.message, "message", "", "answered in the body")
	flags.Float64Var(&s.failPercent, "fail-percent", 0, "percent of requests answered with 500, 0 to 100")
	flags.Float64Var(&s.failAfterSeconds, "fail-after-seconds", 0, "uptime before requests begin to fail")
	flags.Float64Var(&s.latencyMS, "latency-ms", 0, "median delay of an answer, lognormal")
	flags.Float64Var(&s.cpuMS, "cpu-ms", 0, "processor time burnt by each request")
	flags.Float64Var(&s.crashAfterSeconds, "crash-after-seconds", -1, "uptime before exit 1; negative: never")
	flags.Float64Var(&s.leakMiBPerSecond, "leak-mib-per-second", 0, "memory taken and never given back")
	flags.BoolVar(&s.notReady, "not-ready", false, "answer 503 at /health/ready")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}

	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	set := func(name, value, from string) error {
		if given[name] {
			return nil
		}
		given[name] = true
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("%s: %s %q: %w", from, variable(name), value, err)
		}
		return nil
	}
	var problem error
	flags.VisitAll(func(f *flag.Flag) {
		if value, found := lookupEnv(variable(f.Name)); found && problem == nil {
			problem = set(f.Name, value, "environment")
		}
	})
	if problem != nil {
		return s, problem
	}
	if s.configFile != "" {
		lines, err := readConfigFile(s.configFile)
		if err != nil {
			return s, err
		}
		for _, line := range lines {
			name := strings.ReplaceAll(strings.ToLower(line.name), "_", "-")
			if flags.Lookup(name) == nil || name == "config-file" {
				return s, fmt.Errorf("%s: unknown setting %q", s.configFile, line.name)
			}
			if err := set(name, line.value, s.configFile); err != nil {
				return s, err
			}
		}
	}
	return s, s.check()
}

// check refuses numbers that mean nothing, so that a typing error is a crash loop with a reason and not a silent zero.
func (s settings) check() error {
	if !(s.failPercent >= 0 && s.failPercent <= 100) {
		return fmt.Errorf("FAIL_PERCENT is %v; it must lie between 0 and 100", s.failPercent)
	}
	for name, value := range map[string]float64{
		"FAIL_AFTER_SECONDS": s.failAfterSeconds, "LATENCY_MS": s.latencyMS,
		"CPU_MS": s.cpuMS, "LEAK_MIB_PER_SECOND": s.leakMiBPerSecond,
	} {
		if !(value >= 0 && value <= 1e6) {
			return fmt.Errorf("%s is %v; it must lie between 0 and 1000000", name, value)
		}
	}
	if !(s.crashAfterSeconds <= 1e6) {
		return fmt.Errorf("CRASH_AFTER_SECONDS is %v; it must be at most 1000000", s.crashAfterSeconds)
	}
	return nil
}

// fails decides one request. draw is uniform in [0, 1).
func (s settings) fails(uptime time.Duration, draw float64) bool {
	return uptime.Seconds() >= s.failAfterSeconds && draw*100 < s.failPercent
}

// latencySpread is the standard deviation of the logarithm: the 99th percentile is then 3.2 times the median, about what
// a service with one database call shows.
const latencySpread = 0.5

// latency is the delay of one answer: lognormal around the median. draw is standard normal; it is cut at three standard
// deviations, so that no answer of the demo takes for ever.
func (s settings) latency(draw float64) time.Duration {
	factor := math.Exp(latencySpread * max(-3, min(3, draw)))
	return time.Duration(s.latencyMS * factor * float64(time.Millisecond))
}

func variable(flagName string) string {
	return strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

type configLine struct{ name, value string }

// readConfigFile reads NAME=value lines; empty lines and lines that begin with # are comments.
func readConfigFile(path string) ([]configLine, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var lines []configLine
	scanner := bufio.NewScanner(io.LimitReader(file, 64<<10))
	for number := 1; scanner.Scan(); number++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, found := strings.Cut(text, "=")
		if !found {
			return nil, fmt.Errorf("%s line %d: expected NAME=value, found %q", path, number, text)
		}
		lines = append(lines, configLine{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return lines, scanner.Err()
}
