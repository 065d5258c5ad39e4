"""Documents about services: AsyncAPI, OpenAPI, and a page for people. All are made of `ServiceInfo`s."""
