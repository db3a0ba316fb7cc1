"""An OTLP receiver around OpenTelemetry's own protobuf classes.

Arguments: the port for gRPC, the port for HTTP, 0 for any; then, for TLS, a certificate and its key. Says both on its first line, then one JSON line for each request.
"""
import gzip
import http.server
import json
import ssl
import sys
import threading
from concurrent import futures

import grpc
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_rpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

lock = threading.Lock()


def say(via, headers, request):
    with lock:
        # The ids come as base64: that is protobuf's own JSON.
        print(json.dumps({"via": via, "headers": headers, "message": MessageToDict(request)}), flush=True)


refused = int(sys.argv[4]) if sys.argv[3:4] == ["--refuse"] else 0
tls_files = sys.argv[3:5] if sys.argv[3:] and not refused else []


def accepted_spans():
    answer = pb.ExportTraceServiceResponse()
    if refused:
        answer.partial_success.rejected_spans = refused
        answer.partial_success.error_message = "too old"
    return answer


def accepted_logs():
    answer = logs_pb.ExportLogsServiceResponse()
    if refused:
        answer.partial_success.rejected_log_records = refused
        answer.partial_success.error_message = "too old"
    return answer


class Traces(rpc.TraceServiceServicer):
    def Export(self, request, context):
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        say("grpc", headers, request)
        return accepted_spans()


class Logs(logs_rpc.LogsServiceServicer):
    def Export(self, request, context):
        say("grpc logs", dict(), request)
        return accepted_logs()


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        logs = self.path == "/v1/logs"
        metrics = self.path == "/v1/metrics"
        request = logs_pb.ExportLogsServiceRequest() if logs else pb.ExportTraceServiceRequest()
        if metrics:
            request = metrics_pb.ExportMetricsServiceRequest()
        request.ParseFromString(body)
        headers = {key.lower(): value for key, value in self.headers.items()}
        say("http " + self.path, headers, request)
        answer = accepted_logs() if logs else accepted_spans()
        answer = (metrics_pb.ExportMetricsServiceResponse() if metrics else answer).SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


grpc_server = grpc.server(futures.ThreadPoolExecutor(2))
rpc.add_TraceServiceServicer_to_server(Traces(), grpc_server)
logs_rpc.add_LogsServiceServicer_to_server(Logs(), grpc_server)
address = "127.0.0.1:" + sys.argv[1]
if tls_files:
    certificate, key = (open(path, "rb").read() for path in tls_files)
    grpc_port = grpc_server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
else:
    grpc_port = grpc_server.add_insecure_port(address)
grpc_server.start()
http_server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Http)
if tls_files:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*tls_files)
    http_server.socket = tls.wrap_socket(http_server.socket, server_side=True)
print(json.dumps({"grpc": grpc_port, "http": http_server.server_address[1]}), flush=True)
http_server.serve_forever()
