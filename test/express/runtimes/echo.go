// Go's net/http. `serve ADDRESS:PORT` sends every body back as it comes; `post URL SIZE...` posts bodies and compares
// what comes back.
package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func serve(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		// HTTP/1.1's server reads the whole body before it writes otherwise, or gives it up.
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}))
}

func post(url string, size int) error {
	body := make([]byte, size)
	rand.Read(body)
	response, err := http.Post(url, "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if !bytes.Equal(answer, body) {
		return fmt.Errorf("another body came back for %d bytes", size)
	}
	return nil
}

func run() error {
	if os.Args[1] == "serve" {
		return serve(os.Args[2])
	}
	for _, text := range os.Args[3:] {
		size, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := post(os.Args[2], size); err != nil {
			return err
		}
	}
	fmt.Println("ok")
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
