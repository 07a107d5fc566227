// Shows the OpenAPI document, and lets a signed-in person try what it describes.
const root = document.getElementById("interface");

SwaggerUIBundle({
  url: root.dataset.document,
  domNode: root,
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor(request) {
    request.headers["X-CSRFToken"] = root.dataset.csrf;
    return request;
  },
});
