use std::{
    io::{Read, Write},
    net::TcpListener,
    time::Duration,
};

use steeple_export::{
    Client, Endpoint, Http, Pipeline, Protocol, Reason, Request, Sink,
    test_util::{Subject, check_all},
};
use steeple_scrub::{Scrubbed, Scrubber};

struct Lines(Endpoint);

impl Protocol for Lines {
    type Item = String;
    type Ready = String;

    fn size(item: &String) -> usize {
        item.len()
    }

    fn scrub(&mut self, item: String) -> Scrubbed<String> {
        Scrubber::default().text(&item).into_owned()
    }

    fn encode(&mut self, batch: &[Scrubbed<String>]) -> Result<Request, Reason> {
        let lines: String = batch.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        Ok(Request::post(&self.0).content_type("text/plain").body(lines))
    }
}

struct PlainLines;

impl Subject for PlainLines {
    type Protocol = Lines;

    fn protocol(&self, endpoint: Endpoint) -> Lines {
        Lines(endpoint)
    }

    fn item(&self, number: usize) -> String {
        format!("{number:010}")
    }
}

#[test]
fn lines_pass_every_check() {
    check_all(PlainLines);
}

#[test]
fn what_is_pushed_arrives_scrubbed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"two\n") {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let client = Client::builder().build().unwrap();
    let endpoint = Endpoint::parse(&format!("http://{address}/lines")).unwrap();
    let pipeline =
        Pipeline::builder("lines").build(move || Ok(Http::new(client.clone(), Lines(endpoint.clone())))).unwrap();
    pipeline.push("password=hunter2".to_owned());
    pipeline.push("two".to_owned());
    let report = pipeline.flush(steeple_core::clock::now() + Duration::from_mins(1));
    assert_eq!((report.exported, report.dropped, report.left), (2, 0, 0));
    let request = receiver.join().unwrap();
    assert!(request.starts_with("POST /lines HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\npassword=[redacted:key]\ntwo\n"), "{request}");
}
