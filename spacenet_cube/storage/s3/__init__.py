"""S3: buckets, clients, listings, and how fast objects go up."""
