//! What an exchange is called: route templates, gRPC methods, rules and names set by the handler.
