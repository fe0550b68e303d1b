package main

import (
	"math"
	"time"
)

// latencies counts durations in buckets that grow by 2 %, so a percentile is right to 2 % in constant memory, however
// long the run.
type latencies struct {
	counts [bucketCount]uint64
	total  uint64
	max    time.Duration
}

const (
	shortest    = 50 * time.Microsecond
	growth      = 1.02
	bucketCount = 720 // 50 µs · 1.02^719 = 76 s, longer than any timeout that is allowed
)

func (l *latencies) add(took time.Duration) {
	bucket := 0
	if took > shortest {
		bucket = int(math.Ceil(math.Log(float64(took)/float64(shortest)) / math.Log(growth)))
	}
	l.counts[min(bucket, bucketCount-1)]++
	l.total++
	l.max = max(l.max, took)
}

// percentile is the least duration that the given share (0 to 1) of all stays at or below, 0 if there are none.
func (l *latencies) percentile(share float64) time.Duration {
	if l.total == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(share*float64(l.total))))
	var seen uint64
	for bucket, count := range l.counts {
		seen += count
		if seen >= rank {
			upper := time.Duration(float64(shortest) * math.Pow(growth, float64(bucket)))
			return min(upper, l.max)
		}
	}
	return l.max
}
