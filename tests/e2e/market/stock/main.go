// `stock`: gRPC in, SQL to PostgreSQL; the OpenTelemetry SDK for Go with the instrumentations of grpc and pgx, OTLP
// over gRPC. The database is the one of PGHOST, PGPORT and so on.
//
// Says `{"event":"ready","port":N,"control":N}` once it listens and, after SIGTERM, `{"event":"done","spans":N}` with
// the number of spans that ended here. `PUT /_slow?work_ms=N` on the control port, which is not traced, adds N ms to
// its own work, 0 takes it back.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// counter counts the spans that ended: an oracle for laghound's books.
type counter struct{ spans atomic.Int64 }

func (c *counter) OnStart(context.Context, trace.ReadWriteSpan) {}
func (c *counter) OnEnd(trace.ReadOnlySpan)                     { c.spans.Add(1) }
func (c *counter) Shutdown(context.Context) error               { return nil }
func (c *counter) ForceFlush(context.Context) error             { return nil }

type stock struct {
	database *pgxpool.Pool
	slowMs   atomic.Int64
}

// answer does one statement with own work before it: a skewed wait of about 7 ms, and the slowdown.
func (s *stock) answer(ctx context.Context, sql, sku string) (*wrapperspb.StringValue, error) {
	usual := 7 * math.Exp(0.25*rand.NormFloat64())
	time.Sleep(time.Duration((usual + float64(s.slowMs.Load())) * float64(time.Millisecond)))
	var level int
	if err := s.database.QueryRow(ctx, sql, sku).Scan(&level); err != nil {
		return nil, err
	}
	return wrapperspb.String(strconv.Itoa(level)), nil
}

// method is a gRPC method that runs one statement.
func method(name, sql string) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var sku wrapperspb.StringValue
		if err := decode(&sku); err != nil {
			return nil, err
		}
		return server.(*stock).answer(ctx, sql, sku.Value)
	}}
}

var service = grpc.ServiceDesc{
	ServiceName: "market.Stock",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		method("Level", "SELECT level FROM stock WHERE sku = $1"),
		method("Reserve", "UPDATE stock SET level = level - 1 WHERE sku = $1 RETURNING level"),
	},
}

func say(event map[string]any) {
	line, _ := json.Marshal(event)
	fmt.Println(string(line))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	ended := &counter{}
	provider := trace.NewTracerProvider(
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "stock"))),
		trace.WithSpanProcessor(ended),
		trace.WithBatcher(must(otlptracegrpc.New(ctx))),
	)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})

	config := must(pgxpool.ParseConfig(""))
	config.ConnConfig.Tracer = otelpgx.NewTracer()
	config.MaxConns = 8
	s := &stock{database: must(pgxpool.NewWithConfig(ctx, config))}

	control := must(net.Listen("tcp", "127.0.0.1:0"))
	go http.Serve(control, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.ParseInt(r.FormValue("work_ms"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.slowMs.Store(ms)
	}))

	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()))
	server.RegisterService(&service, s)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	signal.Ignore(syscall.SIGINT)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	say(map[string]any{"event": "ready", "service": "stock", "port": port(listener), "control": port(control)})
	must(0, server.Serve(listener))
	s.database.Close()
	must(0, provider.Shutdown(ctx))
	say(map[string]any{"event": "done", "service": "stock", "spans": ended.spans.Load()})
}
