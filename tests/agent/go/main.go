// What others say HTTP/2 and gRPC are: h2spec, and gRPC's interoperability
// suite, against a server of Go's own for each.
//
//	conformance serve GRPC-PORT HTTP2-PORT [KEY]
//	conformance h2spec HOST PORT
//	conformance grpc HOST:PORT [KEY]
//
// h2spec and grpc print one line for each case: "pass NAME", "fail NAME", or
// "skip NAME" where the server gives a case nothing to go by.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	specification "github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testing "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("what to do, and where?")
	}
	switch os.Args[1] {
	case "serve":
		serve(os.Args[2], os.Args[3], append(os.Args, "")[4])
	case "h2spec":
		port, err := strconv.Atoi(os.Args[3])
		check(err)
		conform(os.Args[2], port)
	case "grpc":
		interoperate(os.Args[2], append(os.Args, "")[3])
	case "case":
		one(os.Args[2], os.Args[3], os.Args[4])
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Both servers. With a key, each refuses what does not carry it: nothing but
// matched requests may come to a preview.
func serve(grpcPort, http2Port, key string) {
	rpc, err := net.Listen("tcp", ":"+grpcPort)
	check(err)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			check(belongs(ctx, key))
			return handler(ctx, request)
		}),
		grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			check(belongs(stream.Context(), key))
			return handler(server, stream)
		}),
	)
	testing.RegisterTestServiceServer(server, interop.NewTestServer())
	go func() { check(server.Serve(rpc)) }()

	listener, err := net.Listen("tcp", ":"+http2Port)
	check(err)
	handler := http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		io.Copy(io.Discard, request.Body)
		fmt.Fprintln(response, "served")
	})
	fmt.Println("ready")
	for {
		connection, err := listener.Accept()
		check(err)
		go (&http2.Server{}).ServeConn(connection, &http2.ServeConnOpts{Handler: handler})
	}
}

func belongs(ctx context.Context, key string) error {
	values := metadata.ValueFromIncomingContext(ctx, "baggage")
	found := len(values) == 1 && values[0] == "mirrord-session="+key
	if found != (key != "") {
		return fmt.Errorf("this server is for %q, the request carries %q", key, values)
	}
	return nil
}

// h2spec writes its own report to standard output; ours comes behind it.
func conform(host string, port int) {
	output := os.Stdout
	os.Stdout = nil
	configuration := &config.Config{Host: host, Port: port, Path: "/", Timeout: time.Second, MaxHeaderLen: 4000}
	var groups sync.WaitGroup
	roots := []*spec.TestGroup{generic.Spec(), specification.Spec(), hpack.Spec()}
	for _, root := range roots {
		groups.Add(1)
		go func() {
			defer groups.Done()
			root.Test(configuration)
		}()
	}
	groups.Wait()
	for _, root := range roots {
		verdicts(output, root)
	}
}

func verdicts(output io.Writer, group *spec.TestGroup) {
	for number, test := range append(group.Tests, group.StrictTests...) {
		if test.Result == nil {
			continue
		}
		verdict := "pass"
		if test.Result.Failed {
			verdict = "fail"
		} else if test.Result.Skipped {
			verdict = "skip"
		}
		fmt.Fprintf(output, "%s %s/%d %s\n", verdict, group.ID(), number+1, test.Desc)
	}
	for _, inner := range group.Groups {
		verdicts(output, inner)
	}
}

var cases = map[string]func(context.Context, *grpc.ClientConn, testing.TestServiceClient){
	"empty_unary":                 plain(interop.DoEmptyUnaryCall),
	"large_unary":                 plain(interop.DoLargeUnaryCall),
	"client_streaming":            plain(interop.DoClientStreaming),
	"server_streaming":            plain(interop.DoServerStreaming),
	"ping_pong":                   plain(interop.DoPingPong),
	"empty_stream":                plain(interop.DoEmptyStream),
	"timeout_on_sleeping_server":  plain(interop.DoTimeoutOnSleepingServer),
	"cancel_after_begin":          plain(interop.DoCancelAfterBegin),
	"cancel_after_first_response": plain(interop.DoCancelAfterFirstResponse),
	"status_code_and_message":     plain(interop.DoStatusCodeAndMessage),
	"special_status_message":      plain(interop.DoSpecialStatusMessage),
	"custom_metadata":             plain(interop.DoCustomMetadata),
	"unimplemented_method": func(ctx context.Context, connection *grpc.ClientConn, _ testing.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, connection)
	},
	"unimplemented_service": func(ctx context.Context, connection *grpc.ClientConn, _ testing.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testing.NewUnimplementedServiceClient(connection))
	},
}

func plain(do func(context.Context, testing.TestServiceClient, ...grpc.CallOption)) func(context.Context, *grpc.ClientConn, testing.TestServiceClient) {
	return func(ctx context.Context, _ *grpc.ClientConn, client testing.TestServiceClient) { do(ctx, client) }
}

// A case that fails ends its process: each has its own.
func interoperate(address, key string) {
	program, err := os.Executable()
	check(err)
	var running sync.WaitGroup
	for name := range cases {
		running.Add(1)
		go func() {
			defer running.Done()
			output, err := exec.Command(program, "case", address, name, key).CombinedOutput()
			verdict := "pass"
			if err != nil {
				verdict = "fail"
				fmt.Fprintf(os.Stderr, "%s: %s\n", name, output)
			}
			fmt.Printf("%s %s\n", verdict, name)
		}()
	}
	running.Wait()
}

func one(address, name, key string) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if key != "" {
		with := func(ctx context.Context) context.Context {
			return metadata.AppendToOutgoingContext(ctx, "baggage", "mirrord-session="+key)
		}
		options = append(options,
			grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
				return invoke(with(ctx), method, request, reply, connection, options...)
			}),
			grpc.WithStreamInterceptor(func(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string, stream grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
				return stream(with(ctx), description, connection, method, options...)
			}))
	}
	connection, err := grpc.NewClient(address, options...)
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cases[name](ctx, connection, testing.NewTestServiceClient(connection))
}
