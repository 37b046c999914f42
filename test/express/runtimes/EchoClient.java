import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.Random;

/** Java's stock HTTP client: posts bodies and compares what comes back. Arguments: URL SIZE... */
public final class EchoClient {
  public static void main(String[] arguments) throws Exception {
    var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    var random = new Random();
    for (int i = 1; i < arguments.length; i++) {
      byte[] body = new byte[Integer.parseInt(arguments[i])];
      random.nextBytes(body);
      var request = HttpRequest.newBuilder(URI.create(arguments[0])).POST(BodyPublishers.ofByteArray(body)).build();
      byte[] answer = client.send(request, BodyHandlers.ofByteArray()).body();
      if (!Arrays.equals(answer, body)) throw new IllegalStateException("another body came back for " + body.length);
    }
    System.out.println("ok");
  }
}
