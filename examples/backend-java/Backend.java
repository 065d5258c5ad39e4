import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonPrimitive;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.net.URI;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import org.apache.qpid.jms.JmsConnection;
import org.apache.qpid.jms.JmsConnectionFactory;

/**
 * A worker of the fishalive page. Like `python -m backend`, it turns words into upper case, by JMS over AMQP 1.0.
 *
 *     mvn -q compile exec:java      or      mvn -q package && java -jar target/backend.jar
 *
 * It connects to MACAQUE_BROKER, or to amqp://127.0.0.1:5672. docs/protocol.md describes requests and replies.
 */
public final class Backend {
    /** For JMS, the destination that the workers share is a queue. Its name is the AMQP address. */
    private static final String SHARE = "share:java-back-end:mqlight/sample/wordsuppercase";
    private static final String ID = "java_" + UUID.randomUUID().toString().substring(0, 8);
    private static final Gson GSON = new Gson();

    public static void main(String[] arguments) throws Exception {
        String broker = System.getenv().getOrDefault("MACAQUE_BROKER", "amqp://127.0.0.1:5672");
        URI uri = URI.create(broker);
        // A lost connection reconnects by itself. The server sends one word at a time.
        String options = "?failover.maxReconnectDelay=5000&jms.prefetchPolicy.all=1";
        int port = uri.getPort() >= 0 ? uri.getPort() : uri.getScheme().equals("amqps") ? 5671 : 5672;
        JmsConnectionFactory factory = new JmsConnectionFactory(
            "failover:(" + uri.getScheme() + "://" + uri.getHost() + ":" + port + ")" + options);
        if (uri.getUserInfo() != null) {
            String[] user = uri.getUserInfo().split(":", 2);
            factory.setUsername(user[0]);
            factory.setPassword(user.length > 1 ? user[1] : "");
        }
        JmsConnection connection = (JmsConnection) factory.createConnection();
        connection.setClientID(ID);
        // send returns when the server has the reply. JMS acknowledges the word when onMessage returns.
        Session session = connection.createSession(Session.AUTO_ACKNOWLEDGE);
        MessageProducer replies = session.createProducer(null);
        MessageConsumer words = session.createConsumer(session.createQueue(SHARE));
        words.setMessageListener(message -> answer(message, session, replies));
        connection.start();
        System.out.println(ID + " serves " + SHARE);
        CountDownLatch ended = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                connection.close(); // finishes the word in hand
            } catch (JMSException error) {
                System.err.println("could not take leave: " + error.getMessage());
            }
            ended.countDown();
        }));
        ended.await();
    }

    private static void answer(Message message, Session session, MessageProducer replies) {
        try {
            JsonObject request = GSON.fromJson(message.getBody(String.class), JsonObject.class);
            JsonObject reply = new JsonObject();
            reply.add("uuid", request.get("uuid"));
            fill(reply, request.get("data"));
            TextMessage text = session.createTextMessage(GSON.toJson(reply));
            text.setJMSCorrelationID(request.get("uuid").getAsString());
            replies.send(session.createQueue(request.get("replyTo").getAsString()), text);
        } catch (JsonParseException | NullPointerException error) {
            System.err.println("dropped what is no request: " + error.getMessage());
        } catch (JMSException error) {
            throw new IllegalStateException(error); // not acknowledged: the word is delivered again
        }
    }

    private static void fill(JsonObject reply, JsonElement data) {
        if (data instanceof JsonObject object && object.get("word") instanceof JsonPrimitive word && word.isString()) {
            JsonObject result = new JsonObject();
            result.addProperty("word", word.getAsString().toUpperCase(Locale.ROOT));
            result.addProperty("backend", "Liberty for Java: " + ID);
            reply.add("data", result);
        } else {
            JsonObject error = new JsonObject();
            error.addProperty("code", 400);
            error.addProperty("message", "send an object with a \"word\" that is a string");
            reply.add("error", error);
        }
    }
}
