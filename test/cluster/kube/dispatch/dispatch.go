// Package dispatch makes one static binary do for several programs: it is called by their names.
package dispatch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"

	// What the real programs register at their start.
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// Programs by the name that they are called by.
type Programs map[string]func()

// API is the part of Kubernetes that needs no node.
func API() Programs {
	return Programs{
		"etcd":           func() { etcdmain.Main(os.Args) },
		"kube-apiserver": Command(apiserver.NewAPIServerCommand),
		"kubectl":        kubectl,
	}
}

// Command runs one of Kubernetes' own commands to its end.
func Command(build func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(build())) }
}

// Run is the program that argument 0 names.
func Run(programs Programs) {
	program, known := programs[filepath.Base(os.Args[0])]
	if !known {
		fmt.Fprintf(os.Stderr, "call this by one of the names %v\n", slices.Sorted(maps.Keys(programs)))
		os.Exit(64)
	}
	program()
}

// kubectl prints its errors itself, as people know them.
func kubectl() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
