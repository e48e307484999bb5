package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"refundworker/schemas"
)

// line is one line of an input that is not blank.
type line struct {
	source string
	number int
	// body is valid until the next line is read.
	body    []byte
	tooLong bool
}

// inputs reads several files line by line, in bounded memory whatever they hold.
type inputs struct {
	sources []source
	reader  *bufio.Reader
	number  int
	// read is how many bytes are done, of total; total is 0 when it cannot be known.
	read  atomic.Int64
	total int64
	open  bool
}

type source struct {
	name  string
	input io.ReadCloser
}

// add appends an input; size 0 means that its end cannot be foreseen.
func (in *inputs) add(name string, r io.ReadCloser, size int64) {
	in.sources = append(in.sources, source{name, r})
	in.open = in.open || size == 0
	in.total += size
	if in.open {
		in.total = 0
	}
}

func (in *inputs) close() {
	for _, s := range in.sources {
		_ = s.input.Close()
	}
	in.sources = nil
}

// next returns the next line that is not blank, and io.EOF after the last one.
func (in *inputs) next() (line, error) {
	for len(in.sources) > 0 {
		if in.reader == nil {
			in.reader, in.number = bufio.NewReaderSize(in.sources[0].input, schemas.MaxCommandBytes+len("\r\n")), 0
		}
		l, err := in.readLine()
		if len(l.body) > 0 || l.tooLong {
			return l, nil
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = in.sources[0].input.Close()
			in.sources, in.reader = in.sources[1:], nil
		case err != nil:
			return line{}, fmt.Errorf("read %s: %w", in.sources[0].name, err)
		}
	}
	return line{}, io.EOF
}

func (in *inputs) readLine() (line, error) {
	in.number++
	raw, err := in.reader.ReadSlice('\n')
	in.read.Add(int64(len(raw)))
	l := line{source: in.sources[0].name, number: in.number, body: bytes.TrimSpace(raw)}
	l.tooLong = len(l.body) > schemas.MaxCommandBytes
	for errors.Is(err, bufio.ErrBufferFull) {
		l.tooLong = true
		raw, err = in.reader.ReadSlice('\n')
		in.read.Add(int64(len(raw)))
	}
	return l, err
}
