// A wide-area link in front of a registry: a relay on loopback with a round trip, and one rate for all.
//
// Each direction is one queue that all connections share. A new connection waits a round trip before its first
// byte, as TCP's handshake does; slow start, loss and TLS are left out, so a real link is slower.
//
//	link --round-trip 40 --rate 400 127.0.0.1:5000
//
// prints the address to connect to, and relays until it gets SIGTERM.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	chunk = 64 << 10
	// Bytes of one connection under way in one direction: more than rate times round trip, so no limit.
	window = 4 << 20
)

// direction is one way of the link: when the next byte may leave, and how long it is on its way.
type direction struct {
	mutex sync.Mutex
	rate  float64 // bytes a second
	delay time.Duration
	free  time.Time
}

// arrival takes the link for size bytes and returns when the last of them arrives.
func (d *direction) arrival(size int) time.Time {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if now := time.Now(); d.free.Before(now) {
		d.free = now
	}
	d.free = d.free.Add(time.Duration(float64(size) / d.rate * float64(time.Second)))
	return d.free.Add(d.delay)
}

type flying struct {
	arrival time.Time
	data    []byte
}

var buffers = sync.Pool{New: func() any { return make([]byte, chunk) }}

// pump carries bytes from one side to the other, each at its time, and then the end of the stream.
func pump(from, to *net.TCPConn, way *direction, opened time.Time) {
	under := make(chan flying, window/chunk)
	go func() {
		defer close(under)
		for {
			buffer := buffers.Get().([]byte)
			count, err := from.Read(buffer)
			if count > 0 {
				arrival := way.arrival(count)
				if arrival.Before(opened) {
					arrival = opened
				}
				under <- flying{arrival, buffer[:count]}
			}
			if err != nil {
				if err != io.EOF {
					to.SetLinger(0)
				}
				return
			}
		}
	}()
	broken := false
	for each := range under {
		if !broken {
			time.Sleep(time.Until(each.arrival))
			if _, err := to.Write(each.data); err != nil {
				broken = true
				from.CloseRead()
			}
		}
		buffers.Put(each.data[:chunk])
	}
	to.CloseWrite()
}

func relay(client net.Conn, target string, there, back *direction, roundTrip time.Duration) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	opened := time.Now().Add(roundTrip + roundTrip/2) // a handshake, and then the way there
	near, far := client.(*net.TCPConn), server.(*net.TCPConn)
	var both sync.WaitGroup
	both.Add(2)
	go func() { defer both.Done(); pump(near, far, there, opened) }()
	go func() { defer both.Done(); pump(far, near, back, opened) }()
	both.Wait()
}

func main() {
	roundTrip := flag.Float64("round-trip", 40, "milliseconds")
	rate := flag.Float64("rate", 400, "Mbit/s each way")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "link [--round-trip MS] [--rate MBIT] HOST:PORT", err)
		os.Exit(1)
	}
	trip := time.Duration(*roundTrip * float64(time.Millisecond))
	there := &direction{rate: *rate * 1e6 / 8, delay: trip / 2}
	back := &direction{rate: *rate * 1e6 / 8, delay: trip / 2}
	fmt.Println(listener.Addr())
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go relay(client, flag.Arg(0), there, back, trip)
	}
}
