"""What clients are answered: jobs as JSON, problems, events, forms and the OpenAPI document."""
