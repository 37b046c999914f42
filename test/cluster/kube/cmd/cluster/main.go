// All of a cluster but the container runtime.
package main

import (
	"context"

	"github.com/spf13/cobra"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"weft.dev/test/kube/dispatch"
)

func main() {
	programs := dispatch.API()
	programs["kube-controller-manager"] = dispatch.Command(manager.NewControllerManagerCommand)
	programs["kube-scheduler"] = dispatch.Command(func() *cobra.Command { return scheduler.NewSchedulerCommand() })
	programs["kube-proxy"] = dispatch.Command(proxy.NewProxyCommand)
	programs["kubelet"] = dispatch.Command(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) })
	dispatch.Run(programs)
}
