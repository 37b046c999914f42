#pragma once

#include <cstdint>
#include <string_view>

#include "base/buffer.h"
#include "http/message.h"

namespace weft::http {

void AppendText(Buffer& out, std::string_view text);
// "HTTP/1.1 <status> <reason>\r\n"; a status of three digits.
void AppendStatusLine(Buffer& out, uint16_t status);
// "name: value\r\n" for each but those that the connection itself is about (framing is written by the caller).
void AppendFields(Buffer& out, const HeaderMap& headers);
void AppendChunkHead(Buffer& out, size_t size);

}  // namespace weft::http
