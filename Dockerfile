# The engine as one static binary. Built for the machine that runs it.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/closure ./cmd/closure \
    && mkdir -p /out/data /out/keys

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/closure /usr/local/bin/closure
COPY --from=build --chown=nonroot:nonroot /out/data /data
COPY --from=build --chown=nonroot:nonroot /out/keys /keys
ENV CLOSURE_DATA=/data
VOLUME /data
ENTRYPOINT ["/usr/local/bin/closure"]
CMD ["serve"]
