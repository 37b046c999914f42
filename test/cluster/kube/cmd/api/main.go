// The API server, its storage and kubectl: what tests of the control plane need.
package main

import "weft.dev/test/kube/dispatch"

func main() { dispatch.Run(dispatch.API()) }
