#include "http/http1_write.h"

#include <charconv>
#include <cstring>

#include "http/http1_head.h"

namespace weft::http {

void AppendText(Buffer& out, std::string_view text) {
  if (text.empty()) return;
  std::memcpy(out.Reserve(text.size()), text.data(), text.size());
  out.Commit(text.size());
}

void AppendStatusLine(Buffer& out, uint16_t status) {
  char line[] = "HTTP/1.1 xxx ";
  std::to_chars(line + 9, line + 12, status);
  AppendText(out, line);
  AppendText(out, ReasonPhrase(status));
  AppendText(out, "\r\n");
}

void AppendFields(Buffer& out, const HeaderMap& headers) {
  size_t bytes = 0;
  for (const Header& each : headers) bytes += each.name.size() + each.value.size() + 4;
  auto* const begin = reinterpret_cast<char*>(out.Reserve(bytes));
  char* at = begin;
  for (const Header& each : headers) {
    switch (each.id) {
      case HeaderId::kContentLength:
      case HeaderId::kTransferEncoding:
      case HeaderId::kConnection:
      case HeaderId::kKeepAlive:
      case HeaderId::kProxyConnection:
      case HeaderId::kUpgrade:
      case HeaderId::kHost:
        continue;
      default:
        break;
    }
    std::memcpy(at, each.name.data(), each.name.size());
    at += each.name.size();
    *at++ = ':';
    *at++ = ' ';
    if (!each.value.empty()) std::memcpy(at, each.value.data(), each.value.size());
    at += each.value.size();
    *at++ = '\r';
    *at++ = '\n';
  }
  out.Commit(static_cast<size_t>(at - begin));
}

void AppendChunkHead(Buffer& out, size_t size) {
  char text[20];
  char* at = text + sizeof text;
  *--at = '\n';
  *--at = '\r';
  do {
    *--at = "0123456789abcdef"[size & 15];
    size >>= 4;
  } while (size > 0);
  AppendText(out, {at, static_cast<size_t>(text + sizeof text - at)});
}

}  // namespace weft::http
