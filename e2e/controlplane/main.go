// kube is one file that holds the real etcd, kube-apiserver, kube-controller-manager and kubectl.
//
// The tests hold Forebay's own stand-in of the API server against it, and e2e runs the operator on it. It starts no
// pods: there is no kubelet in it. The program is chosen by the name it is called by, else by its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { run(controllers.NewControllerManagerCommand()) },
	"kubectl":                 people,
}

func main() {
	for _, name := range []string{filepath.Base(os.Args[0]), argument()} {
		if program, ok := programs[name]; ok {
			program()
			return
		}
		os.Args = os.Args[min(1, len(os.Args)):]
	}
	fmt.Fprintln(os.Stderr, "usage: kube etcd|kube-apiserver|kube-controller-manager|kubectl [flags]")
	os.Exit(2)
}

func argument() string {
	if len(os.Args) > 1 {
		return os.Args[1]
	}
	return ""
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func people() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}
