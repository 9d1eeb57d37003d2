//! Requests that move no file.

use berth::{EntryKind, ErrorCode, Note, NoteChange, PutOptions, RelPath, RequestError};
use berth_tests::Server;

use super::{path, run, session};

/// More than come in one part.
const MANY: usize = 600;

#[test]
fn a_directory_is_made_filled_listed_renamed_and_removed() {
    let (server, _) = Server::with_alice("1MiB");
    run(async {
        let session = session(&server).await;
        session.make_directory(&path("a/b"), true).await.unwrap();
        for index in 0..MANY {
            session.make_directory(&path(&format!("a/b/{index}")), false).await.unwrap();
        }
        let mut listing = session.list(&path("a/b")).await.unwrap();
        let (mut names, mut parts) = (Vec::new(), 0);
        while let Some(entries) = listing.next_part().await.unwrap() {
            assert!(entries.iter().all(|entry| entry.kind == EntryKind::Directory));
            names.extend(entries.into_iter().map(|entry| entry.name));
            parts += 1;
        }
        names.sort();
        let mut expected: Vec<String> = (0..MANY).map(|index| index.to_string()).collect();
        expected.sort();
        assert!(names == expected && parts > 1, "{} names in {parts} parts", names.len());

        session.put_from(&b"content"[..], &path("a/file"), &PutOptions::new()).await.unwrap();
        session.rename(&path("a/file"), &path("file"), false).await.unwrap();
        let entry = session.stat(&path("file")).await.unwrap();
        assert_eq!((entry.kind, entry.size), (EntryKind::File, 7));
        let note = Note::new("from the library").unwrap();
        session.set_note(&path("file"), Some(note.clone())).await.unwrap();
        assert_eq!(session.stat(&path("file")).await.unwrap().note, Some(note.clone()));
        let options = PutOptions::new().note(NoteChange::Remove);
        session.put_from(&b"content"[..], &path("file"), &options).await.unwrap();
        assert_eq!(session.stat(&path("file")).await.unwrap().note, None);
        session.set_note(&path("file"), Some(note.clone())).await.unwrap();
        let mut listing = session.list_with_notes(&RelPath::root()).await.unwrap();
        let entries = listing.next_part().await.unwrap().unwrap();
        assert!(entries.iter().any(|entry| entry.note.as_ref() == Some(&note)), "{entries:?}");
        let usage = session.usage().await.unwrap();
        assert_eq!((usage.limits.bytes, usage.used_bytes), (Some(1 << 20), 7));

        let refused = session.remove(&path("a"), false).await;
        assert_eq!(refused, Err(RequestError::Server(ErrorCode::DirectoryNotEmpty)));
        session.remove(&path("a"), true).await.unwrap();
        let mut listing = session.list(&RelPath::root()).await.unwrap();
        let first = listing.next_part().await.unwrap().unwrap();
        assert_eq!(first.iter().map(|entry| &entry.name[..]).collect::<Vec<_>>(), ["file"]);

        // That there is no directory is the first part's error.
        let mut none = session.list(&path("a")).await.unwrap();
        let refused = none.next_part().await.unwrap_err();
        assert_eq!(refused, RequestError::Server(ErrorCode::NotFound));
        session.close().await;
    });
    server.wait_for_no_session_of("alice");
    server.assert_at_rest("alice");
}
