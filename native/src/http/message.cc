#include "http/message.h"

namespace weft::http {

std::string_view ProtocolText(Protocol protocol) {
  switch (protocol) {
    case Protocol::kHttp10:
      return "HTTP/1.0";
    case Protocol::kHttp11:
      return "HTTP/1.1";
    case Protocol::kHttp2:
      return "HTTP/2";
  }
  return "";
}

}  // namespace weft::http
