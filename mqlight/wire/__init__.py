"""What the client and the server have beside the engine: messages, topics, dialects of brokers, sockets and threads."""
