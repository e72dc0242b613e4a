"""The publisher `youtube`: videos by the YouTube Data API's resumable uploads; see docs/platforms/youtube.md."""
