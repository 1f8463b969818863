//! Answering on the socket.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{Report, Socket};

/// Clients at a time; a further one is turned away.
const MAX_CLIENTS: usize = 8;

/// A client that has not taken everything by then is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pause when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Somebody wants to know how the agent is.
pub type Question = oneshot::Sender<Report>;

/// From those who ask to the one who knows.
pub fn questions() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(MAX_CLIENTS)
}

/// Listens; the returned future answers until it is dropped, and the socket goes with it.
///
/// # Errors
/// Without a runtime, or a descriptor left.
pub fn serve(
    socket: Socket,
    questions: mpsc::Sender<Question>,
) -> io::Result<impl Future<Output = ()>> {
    let listener = UnixListener::from_std(socket.listener()?)?;
    Ok(async move {
        let _removed_at_the_end = socket;
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // Dropped: the client reads an end and says that nobody answers.
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                continue;
            };
            let questions = questions.clone();
            tokio::spawn(async move {
                // Too slow is its own loss.
                let _ = timeout(PATIENCE, answer(client, questions)).await;
                drop(place);
            });
        }
    })
}

async fn answer(client: UnixStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let (question, answer) = oneshot::channel();
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    questions.send(question).await.map_err(|_| gone())?;
    let report = answer.await.map_err(|_| gone())?;
    let mut document = serde_json::to_vec(&report)?;
    document.push(b'\n');
    let mut left = &document[..];
    while !left.is_empty() {
        client.writable().await?;
        match client.try_write(left) {
            Ok(length) => left = &left[length..],
            Err(not_yet) if not_yet.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
