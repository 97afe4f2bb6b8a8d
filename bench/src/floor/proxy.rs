//! A pass-through proxy: hyper's server in front of hyper's pooled client.

use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpStream, UnixStream};
use tower::service_fn;

use crate::addr::Addr;

pub(super) async fn run(listen: &Addr, to: Addr) -> anyhow::Result<()> {
    match to {
        Addr::Tcp(addr) => {
            let connector = service_fn(move |_: Uri| {
                Box::pin(async move {
                    let stream = TcpStream::connect(addr).await?;
                    stream.set_nodelay(true)?;
                    Ok::<_, std::io::Error>(TokioIo::new(stream))
                })
            });
            forward(listen, connector).await
        }
        Addr::Unix(path) => {
            let connector = service_fn(move |_: Uri| {
                let path = path.clone();
                Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
            });
            forward(listen, connector).await
        }
    }
}

async fn forward<C>(listen: &Addr, connector: C) -> anyhow::Result<()>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client = Client::builder(TokioExecutor::new()).set_host(false).build::<_, Incoming>(connector);
    super::serve(listen, move |mut request: Request<Incoming>| {
        let client = client.clone();
        async move {
            *request.uri_mut() = absolute(request.uri());
            match client.request(request).await {
                Ok(response) => response.map(Either::Left),
                Err(_) => status(StatusCode::BAD_GATEWAY),
            }
        }
    })
    .await
}

/// The pooled client wants a scheme and a host; the connector ignores both.
fn absolute(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(hyper::http::uri::Scheme::HTTP);
    parts.authority = Some(hyper::http::uri::Authority::from_static("floor"));
    Uri::from_parts(parts).expect("a request's path with a scheme and a host is a URI")
}

fn status(status: StatusCode) -> Response<Either<Incoming, Empty<Bytes>>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}
