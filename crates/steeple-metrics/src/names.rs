/// Which names the request metrics have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// `http_request_duration_seconds{method,route,status_code}` and its like; `grpc_server_handling_seconds`.
    #[default]
    Classic,
    /// OpenTelemetry's: `http_server_request_duration_seconds{http_request_method,http_route,…}`;
    /// `rpc_server_call_duration_seconds`.
    OpenTelemetry,
    /// Both, while a team moves its dashboards from one to the other. Twice the series.
    Both,
}

impl Names {
    pub(crate) fn has_classic(self) -> bool {
        self != Self::OpenTelemetry
    }

    pub(crate) fn has_otel(self) -> bool {
        self != Self::Classic
    }
}
