# varnish with everything in memory; nginx is its backend. For orientation: it copies every byte from its own memory, and uses
# as many threads as it likes. PORT is filled in by bench/serve.py.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "PORT";
}

sub vcl_recv {
    unset req.http.Authorization;       # else it passes every signed request on
    return (hash);
}

sub vcl_backend_response {
    set beresp.ttl = 1d;
}
