package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	progressEvery = 100 * time.Millisecond
	progressWidth = 30
)

// progress draws a bar on a terminal while something long goes on; elsewhere it draws nothing.
type progress struct {
	stop func()
}

func startProgress(out io.Writer, in *inputs, pub *publisher) progress {
	if !terminal(out) {
		return progress{stop: func() {}}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	draw := func() {
		fmt.Fprintf(out, "\r%s", progressLine(in.read.Load(), in.total, pub.published.Load(), pub.refused.Load()))
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				draw()
			case <-end:
				draw()
				fmt.Fprintln(out)
				return
			}
		}
	}()
	return progress{stop: sync.OnceFunc(func() {
		close(end)
		<-ended
	})}
}

// progressLine is the bar; without a total it only counts.
func progressLine(done, total, published, refused int64) string {
	counts := fmt.Sprintf("%d published, %d refused", published, refused)
	if total <= 0 {
		return counts
	}
	done = min(done, total)
	filled := int(done * progressWidth / total)
	return fmt.Sprintf("[%s%s] %3d%% %s", strings.Repeat("#", filled), strings.Repeat(".", progressWidth-filled),
		done*100/total, counts)
}

func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
