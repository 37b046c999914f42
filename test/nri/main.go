// The runtime's side of the Node Resource Interface, as containerd has it inside: offers a socket, and for each line of its input, a
// pod's uid, tells its plugins of a new sandbox and says how long they had it wait.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/containerd/nri/pkg/adaptation"
	"github.com/containerd/nri/pkg/api"
)

func main() {
	ctx := context.Background()
	synchronize := func(ctx context.Context, plugins adaptation.SyncCB) error {
		_, err := plugins(ctx, []*api.PodSandbox{{Id: "old", Uid: "old"}}, nil)
		return err
	}
	update := func(context.Context, []*adaptation.ContainerUpdate) ([]*adaptation.ContainerUpdate, error) {
		return nil, nil
	}
	runtime, err := adaptation.New("containerd", "v2", synchronize, update,
		adaptation.WithSocketPath(os.Args[1]), adaptation.WithPluginPath(os.Args[1]+".plugins"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := runtime.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		uid := lines.Text()
		began := time.Now()
		pod := &api.PodSandbox{Id: "sandbox-" + uid, Name: "pod", Uid: uid, Namespace: "default"}
		err := runtime.RunPodSandbox(ctx, &adaptation.StateChangeEvent{Pod: pod})
		fmt.Println("ran", uid, time.Since(began).Milliseconds(), err)
	}
}
