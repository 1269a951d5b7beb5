//! Repositories on this machine: both services of git, in this process.
//!
//! A stream leads to them as one leads to a server elsewhere, and says the same: the references,
//! then one message and its answer (version 1 of the protocol). So whatever fetches or pushes
//! works with a directory too. Whom it belongs to is no obstacle, since nothing of it is run: no
//! hooks, no filters, no commands of its configuration.

mod give;
mod refs;
mod store;
mod take;
mod walk;

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::packet::Message;
use super::transport::Service;
use store::LocalRepository;

/// Why a repository here is not read or changed, in words for people.
type Problem = String;

/// A service for one message.
#[derive(Debug)]
pub(super) struct LocalService {
    path: PathBuf,
    service: Service,
    greeting: Option<Bytes>,
    answer: Option<mpsc::Receiver<Result<Bytes, Problem>>>,
}

impl LocalService {
    /// Opens a repository and lists its references.
    pub(super) async fn open(path: &Path, service: Service) -> Result<Self, Problem> {
        let path = path.to_owned();
        let work = move || {
            let repository = LocalRepository::open(&path)?;
            let greeting = greeting(&repository, service)?;
            Ok((path, greeting))
        };
        let (path, greeting) = on_a_thread(work).await?;
        Ok(Self { path, service, greeting: Some(greeting.into()), answer: None })
    }

    /// Takes a message and begins to answer it.
    pub(super) fn send(&mut self, message: Vec<u8>) {
        /// Pieces of the answer that wait for their reader.
        const AHEAD: usize = 16;
        let (sender, receiver) = mpsc::channel(AHEAD);
        self.answer = Some(receiver);
        let (path, service) = (self.path.clone(), self.service);
        tokio::task::spawn_blocking(move || {
            let say = |bytes: Vec<u8>| sender.blocking_send(Ok(bytes.into())).map_err(|_| ());
            let done = LocalRepository::open(&path).and_then(|repository| match service {
                Service::UploadPack => give::give(&repository, &message, &say),
                Service::ReceivePack => take::take(&repository, &message, &say),
            });
            if let Err(problem) = done {
                let _ = sender.blocking_send(Err(problem));
            }
        });
    }

    /// The next bytes of what it says; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Problem> {
        if let Some(greeting) = self.greeting.take() {
            return Ok(Some(greeting));
        }
        match &mut self.answer {
            Some(answer) => answer.recv().await.transpose(),
            None => Ok(None),
        }
    }
}

/// Takes bytes of an answer; `Err` when nobody reads it any more.
type Say<'a> = &'a dyn Fn(Vec<u8>) -> Result<(), ()>;

/// Nobody waits for the rest.
fn unheard((): ()) -> Problem {
    "nobody reads the answer".to_owned()
}

/// The references, and what the service can do.
fn greeting(repository: &LocalRepository, service: Service) -> Result<Vec<u8>, Problem> {
    let format = repository.format;
    let mut capabilities = match service {
        Service::UploadPack => {
            "side-band-64k ofs-delta no-progress shallow filter allow-any-sha1-in-want \
             allow-reachable-sha1-in-want"
                .to_owned()
        }
        Service::ReceivePack => "report-status side-band-64k ofs-delta quiet no-thin".to_owned(),
    };
    capabilities.extend([" object-format=", format.name()]);
    let references = refs::all(repository)?;
    let is_upload = service == Service::UploadPack;
    if let Some(target) = references.head.as_ref().filter(|_| is_upload) {
        capabilities.extend([" symref=HEAD:", target]);
    }
    let mut lines = Vec::new();
    if is_upload && let Some(id) = references.head_id() {
        lines.push(format!("{id} HEAD"));
    }
    for (name, reference) in &references.all {
        lines.push(format!("{} {name}", reference.id));
        if let Some(peeled) = reference.peeled.filter(|_| is_upload) {
            lines.push(format!("{peeled} {name}^{{}}"));
        }
    }
    if lines.is_empty() {
        lines.push(format!("{} capabilities^{{}}", super::id::ObjectId::null(format)));
    }
    let mut message = Message::default();
    for (n, line) in lines.iter().enumerate() {
        match n {
            0 => message.raw(format!("{line}\0{capabilities}\n").as_bytes()),
            _ => message.line(line),
        };
    }
    Ok(message.finish())
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err("it was stopped".to_owned()),
    }
}
